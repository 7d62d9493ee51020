"""What a task's data card predicted of the order of methods before any had run, and which of it failed.

A prediction is a chain in task.yaml, best first, methods between commas without an order among them:

    predicted: ["full, lora, qlora > few_shot >= zero_shot", "lora > prefix > zero_shot"]

A name stands for the method at every rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness.catalogue import task_field
from harness.records import measures
from harness.records.cohorts import Cohort, Row
from harness.stats import Estimate
from harness.text import MISSING, Table, markdown, with_interval


@dataclass(frozen=True)
class Measured:
    """A row of the table of methods."""

    name: str
    method: str
    rows: str | None
    """How many labelled rows it had, where the table has several numbers of them."""
    quality: Estimate


@dataclass(frozen=True)
class Pair:
    """One cell predicted to be better than another, or (`at_least`) not worse."""

    better: Measured
    worse: Measured
    at_least: bool

    @property
    def difference(self) -> float:
        return self.better.quality.value - self.worse.quality.value

    @property
    def held(self) -> bool:
        return self.difference > 0 or (self.at_least and self.difference == 0)

    @property
    def failed(self) -> bool:
        return self.difference < 0

    @property
    def apart(self) -> bool | None:
        """Whether the two intervals do not touch; None if one has none."""
        first, second = sorted((self.better.quality, self.worse.quality), key=lambda quality: quality.value)
        return None if first.high is None or second.low is None else first.high < second.low


def section(cohort: Cohort) -> Iterator[str]:
    """A sentence on all predicted pairs that ran, and a table of those that failed."""
    cells = list(_cells(cohort))
    pairs = list(dict.fromkeys(pair for chain in _chains(cohort) for pair in predicted(chain, cells)))
    if not pairs:
        return
    failed = [pair for pair in pairs if pair.failed]
    held = [pair for pair in pairs if pair.held]
    level = len(pairs) - len(held) - len(failed)
    yield "#### Predictions of the data card"
    yield (
        f"Pairs of this table that the data card orders: {len(pairs)}. In the point estimates {len(held)} hold "
        f"({sum(bool(pair.apart) for pair in held)} with intervals apart), {level} are equal, "
        f"{len(failed)} failed{':' if failed else '.'}"
    )
    if failed:
        headings = ("predicted better", "reaches", "predicted worse", "reaches", "intervals")
        yield Table(headings, tuple(map(_listed, failed))).markdown()


def predicted(chain: str, cells: list[Measured]) -> Iterator[Pair]:
    """The pairs of cells that a chain orders: every one of a group above every one of each later group.

    Cells with different numbers of labelled rows are not compared: no card speaks of that.
    """
    first, *rest = re.split(r"(>=?)", chain)
    signs, names = rest[::2], [first, *rest[1::2]]
    groups = [{name.strip() for name in group.split(",")} for group in names]
    for i, group in enumerate(groups):
        for j in range(i + 1, len(groups)):
            at_least = all(sign == ">=" for sign in signs[i:j])
            for better in (cell for cell in cells if cell.method in group):
                for worse in (cell for cell in cells if cell.method in groups[j]):
                    if better.rows is None or worse.rows is None or better.rows == worse.rows:
                        yield Pair(better, worse, at_least)


def _chains(cohort: Cohort) -> list[str]:
    """As the runs recorded them; records that are older than that have the task's own file."""
    recorded = next((record.predicted for record in cohort.records if record.predicted), None)
    predicted = recorded or task_field(cohort.key.task, "predicted") or []
    return [str(chain) for chain in predicted] if isinstance(predicted, list) else [str(predicted)]


def _cells(cohort: Cohort) -> Iterator[Measured]:
    """What was measured as its method says it."""
    for row in cohort.rows:
        quality = measures.quality(row.record)
        if quality and not _in_another_context(row):
            yield Measured(row.name, row.record.method, row.variant.get("max_train_examples"), quality)


def _in_another_context(row: Row) -> bool:
    """Whether trained weights were asked in a context that their method does not name (`method=lora context=rag`)."""
    return row.record.method == row.record.adaptation and row.record.context != "zero_shot"


def _listed(pair: Pair) -> tuple[str, ...]:
    sides = [(markdown(cell.name), with_interval(cell.quality)) for cell in (pair.better, pair.worse)]
    apart = MISSING if pair.apart is None else "apart" if pair.apart else "overlap"
    return (*sides[0], *sides[1], apart)
