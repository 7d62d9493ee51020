"""What a task's data card predicted of the order of methods before any had run, and which of it failed.

A prediction is a chain in task.yaml, best first, methods between commas without an order among them:

    predicted: ["full, lora, qlora > few_shot > zero_shot", "lora > prefix > zero_shot"]

A name stands for the method at every rank: lora for lora_r4, lora_r16 and lora itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from harness.catalogue import task_field
from harness.report import measures
from harness.report.cohorts import Cohort
from harness.report.escaping import markdown
from harness.report.measures import Estimate
from harness.report.tables import Table
from harness.report.units import with_interval

_RANK = re.compile(r"_r\d+\Z")


@dataclass(frozen=True)
class Cell:
    """A row of the table of methods, the mean over its seeds."""

    name: str
    method: str
    # without a rank
    quality: Estimate


@dataclass(frozen=True)
class Pair:
    """One cell predicted to be better than another."""

    better: Cell
    worse: Cell

    @property
    def held(self) -> bool:
        return self.better.quality.value > self.worse.quality.value

    @property
    def apart(self) -> bool:
        """Whether the two intervals do not touch."""
        first, second = sorted((self.better.quality, self.worse.quality), key=lambda quality: quality.value)
        return first.high is not None and second.low is not None and first.high < second.low


def section(cohort: Cohort) -> Iterator[str]:
    """A sentence on all predicted pairs that ran, and a table of those that failed."""
    said = task_field(cohort.key.task, "predicted") or []
    chains = said if isinstance(said, list) else [said]
    pairs = list(dict.fromkeys(pair for chain in chains for pair in predicted(str(chain), _cells(cohort))))
    if not pairs:
        return
    failed = [pair for pair in pairs if not pair.held]
    clear = sum(pair.held and pair.apart for pair in pairs)
    yield "#### Predictions of the data card"
    counted = f"The data card predicts which of two is better for {len(pairs)} pairs of this table: "
    counted += f"{len(pairs) - len(failed)} hold by value, {clear} of them with intervals apart"
    yield counted + (f"; {len(failed)} fail:" if failed else "; none fails.")
    if failed:
        rows = tuple(
            (
                *(markdown(pair.better.name), with_interval(pair.better.quality)),
                *(markdown(pair.worse.name), with_interval(pair.worse.quality)),
                "apart" if pair.apart else "overlap",
            )
            for pair in failed
        )
        yield Table(("predicted better", "reaches", "predicted worse", "reaches", "intervals"), rows).markdown()


def predicted(chain: str, cells: list[Cell]) -> Iterator[Pair]:
    """The pairs of cells that a chain orders: every one of a group above every one of each later group."""
    groups = [{name.strip() for name in group.split(",")} for group in chain.split(">")]
    members = [[cell for cell in cells if cell.method in group] for group in groups]
    for i, better in enumerate(members):
        for worse in members[i + 1 :]:
            yield from (Pair(one, other) for one in better for other in worse)


def _cells(cohort: Cohort) -> list[Cell]:
    """The cells that were measured; of several seeds the mean, which has no interval of its own here."""
    found: dict[tuple[str, str], list[Estimate]] = {}
    for row in cohort.rows:
        if quality := measures.quality(row.record):
            found.setdefault((row.name, _RANK.sub("", row.record.method)), []).append(quality)
    means = {key: each[0] if len(each) == 1 else _mean(each) for key, each in found.items()}
    return [Cell(name, method, quality) for (name, method), quality in means.items()]


def _mean(each: list[Estimate]) -> Estimate:
    return Estimate(fmean(quality.value for quality in each), None, None)
