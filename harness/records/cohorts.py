"""A Cohort is the records that one table may compare: same task, model, data, test items and kind of device.

The record of a run that failed early lacks data and items. The run joins a cohort that fits, preferably one of its own
experiment, then the one with the most items; so every run is shown exactly once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.records import measures, seeds
from harness.records.baselines import Baseline
from harness.records.index import Key
from harness.records.methods import Method, methods
from harness.records.reading import StoredRecord
from harness.records.record import Record

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """A row of a table: the runs of one method with the same settings and different seeds.

    A run that is not ok, or that has no quality, gets a row to itself.
    """

    name: str
    """lora r8, or "few_shot (context.k=4)" if the table has several methods with that label."""
    variant: Mapping[str, str]
    """The settings in the name, as typed on the command line."""
    runs: tuple[StoredRecord, ...]
    """By seed."""
    record: Record
    """The record of the single run, or of all seeds together."""

    @classmethod
    def of(cls, name: str, variant: Mapping[str, str], runs: Iterable[StoredRecord]) -> Row:
        ordered = tuple(sorted(runs, key=lambda run: (run.record.seed, run.record.run_id)))
        return cls(name, variant, ordered, seeds.together(ordered))


@dataclass(frozen=True)
class Cohort:
    key: Key
    rows: tuple[Row, ...]
    """By test quality, best first; runs without a quality last."""
    baselines: tuple[Baseline, ...]
    other_baselines: tuple[Baseline, ...]
    """Baselines of the same data with another number of items: mentioned, never in the table."""

    @property
    def records(self) -> list[Record]:
        """One record for each row."""
        return [row.record for row in self.rows]

    @property
    def runs(self) -> list[StoredRecord]:
        return [run for row in self.rows for run in row.runs]

    @property
    def size(self) -> tuple[int, int]:
        """Items and runs; the largest of a task's cohorts represents the task."""
        return self.key.items or 0, len(self.runs)

    @property
    def metric(self) -> str:
        names = Counter(str(name) for r in self.records if (name := measures.metric(r)))
        return names.most_common(1)[0][0] if names else "quality"


def gather(stored: Sequence[StoredRecord], baselines: Sequence[Baseline] = ()) -> list[Cohort]:
    """Group runs into cohorts; every run is in exactly one."""
    places = place([(Key.of(run.record), run.record.experiment, run) for run in stored])
    return [assemble(key, runs, baselines) for key, runs in places.items()]


def place(runs: Iterable[tuple[Key, str, T]]) -> dict[Key, list[T]]:
    """Runs by cohort, sorted by task, model, then most items first. runs: (key, experiment, run)."""
    keyed_runs = list(runs)
    groups: dict[Key, list[T]] = {}
    experiments: dict[Key, Counter[str]] = {}
    for key, experiment, run in keyed_runs:
        if key.items is not None:
            groups.setdefault(key, []).append(run)
            experiments.setdefault(key, Counter())[experiment] += 1
    for key, experiment, run in keyed_runs:
        if key.items is None:
            groups.setdefault(_home(key, experiment, experiments), []).append(run)
    ordered = sorted(groups, key=lambda k: (k.task, k.model, -(k.items or 0), k.data or "", k.device or ""))
    return {key: groups[key] for key in ordered}


def _home(incomplete: Key, experiment: str, experiments: Mapping[Key, Counter[str]]) -> Key:
    """The cohort of a run without an item count: the fields that the run has must match the cohort's."""

    def fits(key: Key) -> bool:
        return all(value is None or value == other for value, other in zip(incomplete, key, strict=True))

    def preference(key: Key) -> tuple[bool, int, int]:
        return experiment in experiments[key], key.items or 0, experiments[key].total()

    return max(filter(fits, experiments), key=preference, default=incomplete)


def assemble(key: Key, stored: Sequence[StoredRecord], baselines: Sequence[Baseline]) -> Cohort:
    same_data = [b for b in baselines if b.task == key.task and b.data == key.data]
    same_items = [b for b in same_data if b.n is None or b.n == key.items]
    return Cohort(
        key,
        tuple(sorted(_rows(stored), key=_order)),
        tuple(sorted(same_items, key=lambda b: -b.estimate.value)),
        tuple(b for b in same_data if b not in same_items),
    )


def _order(row: Row) -> tuple[bool, bool, float, str, int]:
    quality = measures.quality(row.record)
    value = quality.value if quality else 0.0
    return row.record.status != "ok", quality is None, -value, row.name, row.record.seed


def _rows(stored: Sequence[StoredRecord]) -> Iterator[Row]:
    for method in methods(stored):
        yield from _method_rows(method)


def _method_rows(method: Method) -> Iterator[Row]:
    """One row for all seeds; separate rows for runs without quality, and for runs that share a seed.

    Runs that share a seed must differ in a setting that is not part of the name.
    """
    measured = [run for run in method.runs if measures.quality(run.record)]
    runs_by_seed, measured_by_seed = (Counter(run.record.seed for run in runs) for runs in (method.runs, measured))
    together = [run for run in measured if measured_by_seed[run.record.seed] == 1]
    if together:
        yield Row.of(method.name, method.variant, together)
    for run in method.runs:
        if run not in together:
            details = [f"seed {run.record.seed}"] if len(runs_by_seed) > 1 else []
            details += [f"run {run.record.run_id}"] if runs_by_seed[run.record.seed] > 1 else []
            yield Row.of(method.name + (f" ({', '.join(details)})" if details else ""), method.variant, [run])
