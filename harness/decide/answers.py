"""What methods score on the same validation items: compared item by item, and drawn again for how sure a choice is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    """What rows score on the validation items that all of them have answered; rows without answers are not in it."""

    scores: Mapping[str, Floats]
    # by the row's name; shape (seeds, items)
    clusters: tuple[Hashable, ...]
    # which items belong together; an item without a cluster is one of its own

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Answers | None:
        """None where fewer than two items are shared by the rows that have answers."""
        found = {row.name: read for row in rows if all(read := [_by_item(run) for run in row.runs])}
        every = [lines for runs in found.values() for lines in runs]
        shared = sorted(set.intersection(*map(set, every))) if every else []
        if len(shared) < 2:
            return None
        scores = {name: np.array([[run[i]["score"] for i in shared] for run in runs]) for name, runs in found.items()}
        named = (every[0][item].get("cluster") for item in shared)
        clusters = tuple(item if cluster is None else cluster for item, cluster in zip(shared, named, strict=True))
        return cls(scores, clusters)

    def of_row(self, row: Row) -> Floats | None:
        """Shape (seeds, items); None where it has no answers."""
        return self.scores.get(row.name)

    @property
    def seeds(self) -> int:
        """The most that a row has."""
        return max(map(len, self.scores.values()))

    def compare(self, row: Row, other: Row) -> stats.Comparison:
        return stats.compare_over_seeds(self.scores[row.name], self.scores[other.name], self.clusters)

    def over_items(self, row: Row, other: Row) -> stats.Comparison:
        """The same of the checkpoints at hand: what more items would tell, and more seeds would not."""
        ours, theirs = (self.scores[one.name].mean(0).tolist() for one in (row, other))
        return stats.compare(ours, theirs, self.clusters)

    def redraw(self, rows: Sequence[Row], draws: int = DRAWS) -> Floats:
        """Means of the rows on resampled items and seeds; shape (rows, draws).

        Clusters of items are drawn, the same for all rows, and each row's own seeds.
        """
        random = np.random.default_rng(0)
        weights = _drawn(random, self._units.max() + 1, draws)[:, self._units]
        return np.array([_mean(self.scores[row.name], weights, random) for row in rows])

    def significant(self, rows: Sequence[Row], level: float) -> Floats:
        """From which difference on two rows are told apart, by Student's t; shape (rows, rows).

        The standard errors of all pairs at once, as `compare` has them one by one.
        """
        means = np.array([self.scores[row.name].mean(0) for row in rows])
        count = int(self._units.max()) + 1
        if count < 2:
            return np.full((len(rows), len(rows)), np.inf)
        sums = np.zeros((len(rows), count))
        np.add.at(sums.T, self._units, (means - means.mean(1, keepdims=True)).T)
        products = sums @ sums.T * count / (count - 1) / means.shape[1] ** 2
        own = np.diag(products)
        seeds = np.array([stats.seed_variance(self.scores[row.name]) for row in rows])
        variance = own[:, None] + own - 2 * products + seeds[:, None] + seeds
        return stats.critical_t(count - 1, level) * np.sqrt(np.maximum(0.0, variance))

    @cached_property
    def _units(self) -> NDArray[np.int64]:
        """The number of each item's cluster."""
        return np.unique(np.array([str(cluster) for cluster in self.clusters]), return_inverse=True)[1]


def _by_item(run: StoredRecord) -> dict[str, dict[str, Any]]:
    return {str(line["id"]): line for line in run.validated() if line.get("score") is not None}


def _mean(scores: Floats, weights: Floats, random: np.random.Generator) -> Floats:
    """Weighted means of resampled seeds; weights: shape (draws, items)."""
    seeds = _drawn(random, len(scores), len(weights)) / len(scores)
    return np.asarray(((seeds @ scores) * weights).sum(1) / weights.sum(1))


def _drawn(random: np.random.Generator, count: int, draws: int) -> Floats:
    """How often each of so many is drawn with replacement; shape (draws, count)."""
    return random.multinomial(count, np.full(count, 1 / count), size=draws).astype(float)
