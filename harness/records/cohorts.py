"""A Cohort is the records that may stand in one table: same task, model, data, test items and kind of device.

A run that failed early does not know its data or its items. It joins the cohort it was meant for: that of its
own experiment where there is one, else the one with the most items; so it is seen, and seen once.
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
    """A line of a table: the runs of one method with one set of settings, which differ in their seed.

    A run that is not ok, or that has no quality, is a line of its own.
    """

    name: str
    """lora r8, or "few_shot (context.k=4)" where the table has several of that label."""
    variant: Mapping[str, str]
    """Those settings, as they would be typed on the command line."""
    runs: tuple[StoredRecord, ...]
    """By seed."""
    record: Record
    """The one run's, or that of all its seeds together."""

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
    """Of the same data but another number of items: mentioned, never in the table."""

    @property
    def records(self) -> list[Record]:
        """A record a line of the table."""
        return [row.record for row in self.rows]

    @property
    def runs(self) -> list[StoredRecord]:
        return [run for row in self.rows for run in row.runs]

    @property
    def size(self) -> tuple[int, int]:
        """Items and runs: of a task's cohorts the one with the most speaks for it."""
        return self.key.items or 0, len(self.runs)

    @property
    def metric(self) -> str:
        names = Counter(str(name) for r in self.records if (name := measures.metric(r)))
        return names.most_common(1)[0][0] if names else "quality"


def gather(stored: Sequence[StoredRecord], baselines: Sequence[Baseline] = ()) -> list[Cohort]:
    """Every run in exactly one cohort."""
    places = place([(Key.of(run.record), run.record.experiment, run) for run in stored])
    return [assemble(key, runs, baselines) for key, runs in places.items()]


def place(runs: Iterable[tuple[Key, str, T]]) -> dict[Key, list[T]]:
    """Runs by their cohort: by task, model, then the most items first. A run is given with its key and experiment."""
    known = list(runs)
    groups: dict[Key, list[T]] = {}
    experiments: dict[Key, Counter[str]] = {}
    for key, experiment, run in known:
        if key.items is not None:
            groups.setdefault(key, []).append(run)
            experiments.setdefault(key, Counter())[experiment] += 1
    for key, experiment, run in known:
        if key.items is None:
            groups.setdefault(_home(key, experiment, experiments), []).append(run)
    ordered = sorted(groups, key=lambda k: (k.task, k.model, -(k.items or 0), k.data or "", k.device or ""))
    return {key: groups[key] for key in ordered}


def _home(own: Key, experiment: str, measured: Mapping[Key, Counter[str]]) -> Key:
    """The cohort of a run that counted no items: what it knows must agree, the rest may be anything."""

    def fits(key: Key) -> bool:
        pairs = zip(own, key, strict=True)
        return all(mine is None or mine == theirs for mine, theirs in pairs)

    def preference(key: Key) -> tuple[bool, int, int]:
        return experiment in measured[key], key.items or 0, measured[key].total()

    return max(filter(fits, measured), key=preference, default=own)


def assemble(key: Key, stored: Sequence[StoredRecord], baselines: Sequence[Baseline]) -> Cohort:
    same = [b for b in baselines if b.task == key.task and b.data == key.data]
    here = [b for b in same if b.n is None or b.n == key.items]
    return Cohort(
        key,
        tuple(sorted(_rows(stored), key=_order)),
        tuple(sorted(here, key=lambda b: -b.estimate.value)),
        tuple(b for b in same if b not in here),
    )


def _order(row: Row) -> tuple[bool, bool, float, str, int]:
    quality = measures.quality(row.record)
    value = quality.value if quality else 0.0
    return row.record.status != "ok", quality is None, -value, row.name, row.record.seed


def _rows(stored: Sequence[StoredRecord]) -> Iterator[Row]:
    for method in methods(stored):
        yield from _of_method(method)


def _of_method(method: Method) -> Iterator[Row]:
    """Its seeds together; apart what has no quality, and runs of one seed, which must differ in what has no name."""
    measured = [run for run in method.runs if measures.quality(run.record)]
    times, measured_times = (Counter(run.record.seed for run in some) for some in (method.runs, measured))
    together = [run for run in measured if measured_times[run.record.seed] == 1]
    if together:
        yield Row.of(method.name, method.variant, together)
    for run in method.runs:
        if run not in together:
            said = [f"seed {run.record.seed}"] if len(times) > 1 else []
            said += [f"run {run.record.run_id}"] if times[run.record.seed] > 1 else []
            yield Row.of(method.name + (f" ({', '.join(said)})" if said else ""), method.variant, [run])
