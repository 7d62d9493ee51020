"""Every item's score of a run, read from its predictions once."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.records import PREDICTIONS_FILE, StoredRecord, read_lines

KEPT = 2**15
"""Runs whose scores are kept in memory; of 200 items each they take some 50 MiB."""


@dataclass(frozen=True)
class Scores:
    """Scores by item, in the order of their ids; items that could not be run are absent."""

    ids: tuple[str, ...]
    values: NDArray[np.float64]
    clusters: tuple[Hashable, ...]

    @property
    def units(self) -> int:
        """Clusters; an item without one is one by itself."""
        named = [cluster for cluster in self.clusters if cluster is not None]
        return len(set(named)) + len(self.clusters) - len(named)

    def of(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """The scores of these items, in their order."""
        if ids == self.ids:
            return self.values
        place = {item: i for i, item in enumerate(self.ids)}
        return self.values[[place[item] for item in ids]]


@dataclass(frozen=True)
class Shared:
    """The items that several runs have all scored."""

    ids: tuple[str, ...]
    scores: NDArray[np.float64]
    # shape (runs, items)
    clusters: tuple[Hashable, ...] | None

    @classmethod
    def of(cls, runs: Sequence[Scores]) -> Shared | None:
        """None where there is none."""
        kinds = {run.ids for run in runs}
        ids = kinds.pop() if len(kinds) == 1 else tuple(sorted(set.intersection(*map(set, kinds)))) if kinds else ()
        if not ids:
            return None
        named = dict(zip(runs[0].ids, runs[0].clusters, strict=True))
        clusters = tuple(named[item] for item in ids)
        known = any(cluster is not None for cluster in clusters)
        return cls(ids, np.array([run.of(ids) for run in runs]), clusters if known else None)


def read(stored: StoredRecord) -> Scores | None:
    """A run's scores; None where its predictions are missing, or none is scored."""
    path = stored.folder / PREDICTIONS_FILE
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=KEPT)
def _read(path: Path, _changed: int, _size: int) -> Scores | None:
    """The two numbers tell one state of a file from another."""
    scored = [(p["id"], p["score"], p.get("cluster")) for p in read_lines(path) if p.get("score") is not None]
    if not scored:
        return None
    ids, values, clusters = zip(*sorted(scored, key=lambda row: row[0]), strict=True)
    return Scores(_one(ids), np.array(values, float), _one(clusters))


_known: dict[tuple[Any, ...], tuple[Any, ...]] = {}


def _one(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same object for equal values: all runs of a task have the same items."""
    return _known.setdefault(values, values)
