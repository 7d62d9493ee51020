"""Scores by item: of one run, read once from its predictions, and of several methods as a matrix.

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
"""An answer with at least this score counts as right."""
KEPT = 2**15
"""Runs whose scores are cached in memory: about 50 MiB with 200 items each."""


@dataclass(frozen=True)
class Scores:
    """A run's scores, sorted by item id; without items that could not be run."""

    ids: tuple[str, ...]
    values: Floats
    clusters: tuple[Hashable, ...]

    @property
    def units(self) -> int:
        """Number of clusters; an item without one is its own cluster."""
        clusters = [cluster for cluster in self.clusters if cluster is not None]
        return len(set(clusters)) + len(self.clusters) - len(clusters)

    def of(self, ids: Sequence[str]) -> Floats:
        """The scores of these items, in their order."""
        if ids == self.ids:
            return self.values
        position = {item: i for i, item in enumerate(self.ids)}
        return self.values[[position[item] for item in ids]]


@dataclass(frozen=True)
class ScoreMatrix:
    """The scores of several methods on the items that all their runs have scored."""

    scores: Mapping[str, Floats]
    """By the method's name; shape (seeds, items)."""
    ids: tuple[str, ...]
    """Item ids."""
    clusters: tuple[Hashable, ...] | None
    """The cluster of each item; None if no item has one."""

    @classmethod
    def of(cls, methods: Mapping[str, Sequence[Scores]]) -> ScoreMatrix | None:
        """From each method's runs by name; None if they share no item."""
        runs = [run for seeds in methods.values() for run in seeds]
        id_lists = {run.ids for run in runs}
        if len(id_lists) == 1:
            ids = id_lists.pop()
        else:
            ids = tuple(sorted(set.intersection(*map(set, id_lists)))) if id_lists else ()
        if not ids:
            return None
        by_id = dict(zip(runs[0].ids, runs[0].clusters, strict=True))
        clusters = tuple(by_id[item] for item in ids)
        clustered = any(cluster is not None for cluster in clusters)
        scores = {name: np.array([run.of(ids) for run in seeds]) for name, seeds in methods.items() if seeds}
        return cls(scores, ids, clusters if clustered else None)

    def compare(self, name: str, other: str) -> Comparison:
        """One method's scores minus another's, over items and seeds."""
        return stats.compare_over_seeds(self.scores[name], self.scores[other], self.clusters)


def read(stored: StoredRecord, split: str = "test") -> Scores | None:
    """A run's scores; None if its predictions are missing or unscored. split: test | validation."""
    path = stored.folder / PREDICTIONS_FILES[split]
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=KEPT)
def _read(path: Path, _modified: int, _size: int) -> Scores | None:
    """Time and size are part of the cache's key: a changed file is read again."""
    scored = [line for line in read_predictions(path, _Line) if line.score is not None]
    if not scored:
        return None
    scored.sort(key=attrgetter("id"))
    values = np.array([line.score for line in scored], float)
    return Scores(tuple([line.id for line in scored]), values, tuple([line.cluster for line in scored]))


class _Line(msgspec.Struct):
    """The fields needed here; skipping the others makes reading ten times faster."""

    id: str
    score: float | None = None
    cluster: str | int | float | None = None
