"""Combines a method's training seeds into one record: quality over items and seeds, other figures averaged over seeds.

Exceptions: peak memory is the highest, which a machine must have, and the learning-rate search is the longest, because
one seed's choice serves the others. Time and memory come only from seeds on the first seed's hardware; the others count
for quality alone. A figure comes from seeds where it was not contaminated, if any, and the time of a step from seeds
that performed it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any, TypeVar

import msgspec

from harness import stats
from harness.records import measures, scores
from harness.records.reading import StoredRecord
from harness.records.record import Quality, Record
from harness.records.scores import ScoreMatrix

Part = TypeVar("Part", bound=Any)
_INSTANT = 1e-3
"""A step that took fewer seconds did not happen."""
_HIGHEST = ("memory", "peak_memory_bytes", "tuning_seconds")


def together(runs: Sequence[StoredRecord]) -> Record:
    """One record for runs that differ only in their seed."""
    records = [run.record for run in runs]
    if len(records) == 1:
        return records[0]
    latency = _measured(records, "latency")
    retention = _mean([r.retention for r in records])
    validation = _mean([r.validation for r in records])
    return replace(
        records[0],
        quality=_quality(runs),
        # a mean of intervals is not the interval over items and seeds
        validation=validation and replace(validation, low=None, high=None),
        training=_mean([r.training for r in _measured(records, "training")]),
        inference=_mean([r.inference for r in latency]),
        retrieval=_mean([r.retrieval for r in latency]),
        retention=retention and replace(retention, low=None, high=None),
        memory=_mean([r.memory for r in _measured(records, "memory")], "memory"),
        seconds=_seconds(latency),
        contaminated=_contaminated(records),
    )


def spread(records: Sequence[Record]) -> float | None:
    """Standard deviation of the test value over seeds; None with one seed."""
    values = [[quality.value] for r in records if (quality := measures.quality(r))]
    return stats.seed_spread(values) if values else None


def _quality(runs: Sequence[StoredRecord]) -> Quality | None:
    """The mean with its interval over items and seeds; no interval unless every seed's predictions exist."""
    qualities = [run.record.quality for run in runs if run.record.quality]
    mean = _mean(qualities)
    if mean is None:
        return None
    unscored = max(quality.unscored for quality in qualities)
    run_scores = [scores.read(run) for run in runs]
    matrix = ScoreMatrix.of({"": [s for s in run_scores if s]}) if all(run_scores) else None
    interval = stats.interval_over_seeds(matrix.scores[""], matrix.clusters) if matrix else None
    low, high = (interval.low, interval.high) if interval else (None, None)
    return replace(mean, low=low, high=high, unscored=int(unscored))


def _mean(parts: Sequence[Part | None], name: str = "") -> Part | None:
    """The same part of several records, with each figure averaged."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    return msgspec.convert(_average([asdict(part) for part in present], name), type(present[0]))


def _average(parts: Sequence[Any], name: str = "") -> Any:
    """Numbers: their mean, or the highest for names in _HIGHEST. Dicts: field by field. Anything else: the first."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    if all(isinstance(part, dict) for part in present):
        inherited = name if name == "memory" else ""
        names = dict.fromkeys(field for part in present for field in part)
        return {field: _average([part.get(field) for part in present], inherited or field) for field in names}
    numbers = [part for part in present if isinstance(part, int | float) and not isinstance(part, bool)]
    if len(numbers) < len(present):
        return any(present) if all(isinstance(part, bool) for part in present) else present[0]
    finite = [number for number in numbers if math.isfinite(number)]
    if finite and name in _HIGHEST:
        return max(finite)
    return (finite[0] if len(set(finite)) == 1 else fmean(finite)) if finite else None


def _seconds(records: Sequence[Record]) -> dict[str, float] | None:
    """Mean seconds of each step over the seeds that performed it: some skip latency or the learning-rate search."""
    timings = [record.seconds for record in records if record.seconds]
    performed = [{step: spent for step, spent in seconds.items() if spent >= _INSTANT} for seconds in timings]
    return _average(timings) | _average(performed) if timings else None


def _measured(records: Sequence[Record], figure: str) -> Sequence[Record]:
    """The seeds that provide a figure of time or memory: uncontaminated ones on the first seed's hardware, if any."""
    same_hardware = _on_one_machine(records)
    return [record for record in same_hardware if figure not in measures.contaminated(record)] or same_hardware


def _on_one_machine(records: Sequence[Record]) -> list[Record]:
    """The records measured on the first seed's hardware."""
    return [record for record in records if measures.hardware(record) == measures.hardware(records[0])]


def _contaminated(records: Sequence[Record]) -> dict[str, list[str]]:
    """Remarks on each figure that was contaminated in all seeds on the first seed's hardware."""
    by_seed = [measures.contaminated(record) for record in _on_one_machine(records)]
    figures = dict.fromkeys(figure for remarks in by_seed for figure in remarks)
    return {
        figure: list(dict.fromkeys(remark for remarks in by_seed for remark in remarks[figure]))
        for figure in figures
        if all(remarks.get(figure) for remarks in by_seed)
    }
