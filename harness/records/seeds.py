"""A method's training seeds as one run: quality over items and seeds, every other figure the mean of the seeds'.

Of peaks of memory the highest is meant, since that is what a machine must have, and of the search for a learning rate
the longest, since one seed's choice does for the others. Time and memory are those of the first seed's hardware: what
was made elsewhere counts for quality alone. A figure that was disturbed in one seed and not in another is taken from
those where it was not, and a step that one seed left out from those that took it.
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
"""Seconds below which a step was not taken."""
_HIGHEST = ("memory", "peak_memory_bytes", "tuning_seconds")


def together(runs: Sequence[StoredRecord]) -> Record:
    """The runs of one cell, which differ in their seed, as one record."""
    records = [run.record for run in runs]
    if len(records) == 1:
        return records[0]
    latency = _measured(records, "latency")
    retention = _mean([r.retention for r in records])
    validation = _mean([r.validation for r in records])
    return replace(
        records[0],
        quality=_quality(runs),
        # of items and seeds together an interval is not known, and is no mean
        validation=validation and replace(validation, low=None, high=None),
        training=_mean([r.training for r in _measured(records, "training")]),
        inference=_mean([r.inference for r in latency]),
        retrieval=_mean([r.retrieval for r in latency]),
        retention=retention and replace(retention, low=None, high=None),
        memory=_mean([r.memory for r in _measured(records, "memory")], "memory"),
        seconds=_seconds(latency),
        contaminated=_disturbances(records),
    )


def spread(records: Sequence[Record]) -> float | None:
    """Standard deviation of the test value over seeds; None of a single one."""
    values = [[quality.value] for r in records if (quality := measures.quality(r))]
    return stats.seed_spread(values) if values else None


def _quality(runs: Sequence[StoredRecord]) -> Quality | None:
    """The mean with the interval of items and seeds; without every seed's predictions there is no interval."""
    known = [run.record.quality for run in runs if run.record.quality]
    mean = _mean(known)
    if mean is None:
        return None
    unscored = max(quality.unscored for quality in known)
    own = [scores.read(run) for run in runs]
    matrix = ScoreMatrix.of({"": [one for one in own if one]}) if all(own) else None
    interval = stats.interval_over_seeds(matrix.scores[""], matrix.clusters) if matrix else None
    low, high = (interval.low, interval.high) if interval else (None, None)
    return replace(mean, low=low, high=high, unscored=int(unscored))


def _mean(parts: Sequence[Part | None], name: str = "") -> Part | None:
    """Of the same part of several records one with the mean of each figure."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    return msgspec.convert(_mean_of([asdict(part) for part in known], name), type(known[0]))


def _mean_of(parts: Sequence[Any], name: str = "") -> Any:
    """Of numbers their mean or, by their name, the highest; of dicts that of each field; else the first known."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    if all(isinstance(part, dict) for part in known):
        of_memory = name if name == "memory" else ""
        names = dict.fromkeys(field for part in known for field in part)
        return {field: _mean_of([part.get(field) for part in known], of_memory or field) for field in names}
    numbers = [part for part in known if isinstance(part, int | float) and not isinstance(part, bool)]
    if len(numbers) < len(known):
        return any(known) if all(isinstance(part, bool) for part in known) else known[0]
    finite = [number for number in numbers if math.isfinite(number)]
    if finite and name in _HIGHEST:
        return max(finite)
    return (finite[0] if len(set(finite)) == 1 else fmean(finite)) if finite else None


def _seconds(records: Sequence[Record]) -> dict[str, float] | None:
    """The seconds of each step, of the seeds that took it: another seed may have left latency or the search out."""
    known = [record.seconds for record in records if record.seconds]
    taken = [{step: spent for step, spent in seconds.items() if spent >= _INSTANT} for seconds in known]
    return _mean_of(known) | _mean_of(taken) if known else None


def _measured(records: Sequence[Record], figure: str) -> Sequence[Record]:
    """The seeds that a figure of the hardware is taken from."""
    near = _on_one_machine(records)
    return [record for record in near if figure not in measures.contaminated(record)] or near


def _on_one_machine(records: Sequence[Record]) -> list[Record]:
    """Those of the first seed's hardware."""
    return [record for record in records if measures.hardware(record) == measures.hardware(records[0])]


def _disturbances(records: Sequence[Record]) -> dict[str, list[str]]:
    """By figure, what disturbed it in every seed that it could be taken from; nothing where one of them was spared."""
    remarks = [measures.contaminated(record) for record in _on_one_machine(records)]
    figures = dict.fromkeys(figure for said in remarks for figure in said)
    return {
        figure: list(dict.fromkeys(remark for said in remarks for remark in said[figure]))
        for figure in figures
        if all(said.get(figure) for said in remarks)
    }
