"""Every item's score: of one run, read from its predictions once, and of several methods as one matrix.

>>> matrix = ScoreMatrix.of({"lora r8": [read(run) for run in seeds], "zero_shot": [read(other)]})
>>> matrix.scores["lora r8"].shape, matrix.compare("lora r8", "zero_shot").value
((3, 200), 0.31)
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import msgspec
import numpy as np

from harness import stats
from harness.records.prediction import read_predictions
from harness.records.reading import PREDICTIONS_FILES, StoredRecord
from harness.stats import Comparison, Floats

RIGHT = 0.5
"""A score from which an answer counts as right."""
KEPT = 2**15
"""Runs whose scores are kept in memory; of 200 items each they take some 50 MiB."""


@dataclass(frozen=True)
class Scores:
    """A run's scores by item, in the order of their ids; items that could not be run are absent."""

    ids: tuple[str, ...]
    values: Floats
    clusters: tuple[Hashable, ...]

    @property
    def units(self) -> int:
        """Clusters; an item without one is one by itself."""
        named = [cluster for cluster in self.clusters if cluster is not None]
        return len(set(named)) + len(self.clusters) - len(named)

    def of(self, ids: Sequence[str]) -> Floats:
        """The scores of these items, in their order."""
        if ids == self.ids:
            return self.values
        place = {item: i for i, item in enumerate(self.ids)}
        return self.values[[place[item] for item in ids]]


@dataclass(frozen=True)
class ScoreMatrix:
    """The scores of several methods over the items that all their runs have scored."""

    scores: Mapping[str, Floats]
    """By the method's name; shape (seeds, items)."""
    ids: tuple[str, ...]
    """Of the items."""
    clusters: tuple[Hashable, ...] | None
    """Which items belong together; None if no item has a cluster."""

    @classmethod
    def of(cls, methods: Mapping[str, Sequence[Scores]]) -> ScoreMatrix | None:
        """methods: by name, the runs of each. None if they share no item."""
        runs = [run for seeds in methods.values() for run in seeds]
        kinds = {run.ids for run in runs}
        ids = kinds.pop() if len(kinds) == 1 else tuple(sorted(set.intersection(*map(set, kinds)))) if kinds else ()
        if not ids:
            return None
        named = dict(zip(runs[0].ids, runs[0].clusters, strict=True))
        clusters = tuple(named[item] for item in ids)
        known = any(cluster is not None for cluster in clusters)
        scores = {name: np.array([run.of(ids) for run in seeds]) for name, seeds in methods.items() if seeds}
        return cls(scores, ids, clusters if known else None)

    def compare(self, name: str, other: str) -> Comparison:
        """One method minus another, over items and seeds."""
        return stats.compare_over_seeds(self.scores[name], self.scores[other], self.clusters)


def read(stored: StoredRecord, split: str = "test") -> Scores | None:
    """A run's scores; None if its predictions are missing, or none is scored. split: test | validation."""
    path = stored.folder / PREDICTIONS_FILES[split]
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=KEPT)
def _read(path: Path, _changed: int, _size: int) -> Scores | None:
    """The two numbers tell one state of a file from another."""
    scored = [line for line in read_predictions(path, _Line) if line.score is not None]
    if not scored:
        return None
    scored.sort(key=attrgetter("id"))
    values = np.array([line.score for line in scored], float)
    return Scores(tuple([line.id for line in scored]), values, tuple([line.cluster for line in scored]))


class _Line(msgspec.Struct):
    """What a prediction is read for here; skipping the rest of it takes a tenth of the time."""

    id: str
    score: float | None = None
    cluster: str | int | float | None = None
