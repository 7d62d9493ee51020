"""What methods score on the same validation items: compared item by item, and drawn again for how sure a choice is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.records import StoredRecord
from harness.report.cohorts import Row

DRAWS = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What rows score on the validation items that all of them have answered."""

    scores: Mapping[str, Floats]
    # by the row's name; shape (seeds, items)
    clusters: tuple[Hashable, ...]
    # which items belong together; an item without a cluster is one of its own

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Answers | None:
        """None where a run has kept no answers, or fewer than two items are shared."""
        found = {row.name: [_by_item(run) for run in row.runs] for row in rows}
        every = [lines for runs in found.values() for lines in runs]
        shared = sorted(set.intersection(*map(set, every))) if every else []
        if len(shared) < 2:
            return None
        scores = {name: np.array([[run[i]["score"] for i in shared] for run in runs]) for name, runs in found.items()}
        named = (every[0][item].get("cluster") for item in shared)
        clusters = tuple(item if cluster is None else cluster for item, cluster in zip(shared, named, strict=True))
        return cls(scores, clusters)

    def compare(self, row: Row, other: Row) -> stats.Comparison:
        return stats.compare_over_seeds(self.scores[row.name], self.scores[other.name], self.clusters)

    def redraw(self, rows: Sequence[Row], draws: int = DRAWS) -> Floats:
        """Means of the rows on resampled items and seeds; shape (rows, draws).

        Clusters of items are drawn, the same for all rows, and each row's own seeds.
        """
        random = np.random.default_rng(0)
        units, of_item = np.unique(np.array([str(cluster) for cluster in self.clusters]), return_inverse=True)
        weights = _drawn(random, len(units), draws)[:, of_item]
        return np.array([_mean(self.scores[row.name], weights, random) for row in rows])


def _by_item(run: StoredRecord) -> dict[str, dict[str, Any]]:
    return {str(line["id"]): line for line in run.validated() if line.get("score") is not None}


def _mean(scores: Floats, weights: Floats, random: np.random.Generator) -> Floats:
    """Weighted means of resampled seeds; weights: shape (draws, items)."""
    seeds = _drawn(random, len(scores), len(weights)) / len(scores)
    return np.asarray(((seeds @ scores) * weights).sum(1) / weights.sum(1))


def _drawn(random: np.random.Generator, count: int, draws: int) -> Floats:
    """How often each of so many is drawn with replacement; shape (draws, count)."""
    return random.multinomial(count, np.full(count, 1 / count), size=draws).astype(float)
