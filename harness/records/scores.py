"""Every item's score of a run, read from its predictions once."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.records.reading import PREDICTIONS_FILE, StoredRecord, read_lines

RIGHT = 0.5
"""A score from which an answer counts as right."""
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
    """Shape (runs, items)."""
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
    scored = [line for line in _lines(path) if line.score is not None]
    if not scored:
        return None
    scored.sort(key=attrgetter("id"))
    values = np.array([line.score for line in scored], float)
    return Scores(tuple([line.id for line in scored]), values, tuple([line.cluster for line in scored]))


class _Line(msgspec.Struct):
    """What a line of predictions is read for here; the rest of it is not looked at, which takes a tenth of the time."""

    id: str
    score: float | None = None
    cluster: str | int | None = None


_LINES = msgspec.json.Decoder(_Line)


def _lines(path: Path) -> list[_Line]:
    """What is read of every item; UserError as `read_lines`."""
    try:
        return _LINES.decode_lines(path.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError):  # a number that is none, or a file that is damaged
        return [_Line(line["id"], line.get("score"), line.get("cluster")) for line in read_lines(path)]
