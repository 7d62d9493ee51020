"""What methods score on the same validation items: compared item by item, and drawn again for how sure a choice is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.records.cohorts import Row
from harness.records.reading import StoredRecord

DRAWS = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What rows score on the same validation items; a row that has not answered these is not in it."""

    scores: Mapping[str, Floats]
    """By the row's name; shape (seeds, items)."""
    clusters: tuple[Hashable, ...]
    """Which items belong together; an item without a cluster is one of its own."""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Answers | None:
        """Over the items that most rows have answered, of as many the larger set; None where these are fewer than two.

        So a run on a few items does not take the others' from them.
        """
        found = {row.name: read for row in rows if all(read := [_by_item(run) for run in row.runs])}
        items = Counter(frozenset(set.intersection(*map(set, runs))) for runs in found.values())
        shared = sorted(max(items, key=lambda ids: (items[ids], len(ids)), default=()))
        if len(shared) < 2:
            return None
        answered = {name: runs for name, runs in found.items() if all(set(shared) <= run.keys() for run in runs)}
        scores = {
            name: np.array([[run[i]["score"] for i in shared] for run in runs]) for name, runs in answered.items()
        }
        one = next(iter(answered.values()))[0]
        named = (one[item].get("cluster") for item in shared)
        clusters = tuple(item if cluster is None else cluster for item, cluster in zip(shared, named, strict=True))
        return cls(scores, clusters)

    @property
    def seeds(self) -> int:
        """The most that a row has."""
        return max(map(len, self.scores.values()))

    def compare(self, row: Row, other: Row) -> stats.Comparison:
        return stats.compare_over_seeds(self.scores[row.name], self.scores[other.name], self.clusters)

    def over_items(self, row: Row, other: Row) -> stats.Comparison:
        """The same of these checkpoints: what more items would tell, and more seeds would not."""
        ours, theirs = (self.scores[one.name].mean(0).tolist() for one in (row, other))
        return stats.compare(ours, theirs, self.clusters)

    def redraw(self, rows: Sequence[Row], draws: int = DRAWS) -> Draws:
        """Resampled items and seeds: clusters of items, the same for all rows, and each row's own seeds."""
        random = np.random.default_rng(0)
        units, of_item = np.unique(np.array([str(cluster) for cluster in self.clusters]), return_inverse=True)
        weights = _drawn(random, len(units), draws)[:, of_item]
        means = np.array([_mean(self.scores[row.name], weights, random) for row in rows])
        return Draws(self, weights, {row.name: place for place, row in enumerate(rows)}, means)


@dataclass(frozen=True)
class Draws:
    """Answers to resampled items by resampled seeds."""

    answers: Answers
    weights: Floats
    """How often each item was drawn; shape (draws, items)."""
    places: Mapping[str, int]
    """Of the rows in `means`, by name."""
    means: Floats
    """Shape (rows, draws)."""

    def p(self, row: Row, other: Row) -> Floats:
        """How surely two rows differ in each draw, as `Answers.compare` says it of all items; shape (draws,).

        Exact McNemar over the items drawn where that is its test, else t with the standard error of all items.
        """
        found = self.answers.compare(row, other)
        if found.test == "exact McNemar":
            ours, theirs = (self.answers.scores[one.name][0] for one in (row, other))
            return stats.mcnemar(self.weights @ (ours > theirs), self.weights @ (ours < theirs))
        if not found.error:
            return np.full(len(self.weights), found.p)
        difference = self.means[self.places[row.name]] - self.means[self.places[other.name]]
        return stats.two_sided_p(difference / found.error, found.freedom)


def _by_item(run: StoredRecord) -> dict[str, dict[str, Any]]:
    return {str(line["id"]): line for line in run.validated() if line.get("score") is not None}


def _mean(scores: Floats, weights: Floats, random: np.random.Generator) -> Floats:
    """Weighted means of resampled seeds; weights: shape (draws, items)."""
    seeds = _drawn(random, len(scores), len(weights)) / len(scores)
    return np.asarray(((seeds @ scores) * weights).sum(1) / weights.sum(1))


def _drawn(random: np.random.Generator, count: int, draws: int) -> Floats:
    """How often each of so many is drawn with replacement; shape (draws, count)."""
    return random.multinomial(count, np.full(count, 1 / count), size=draws).astype(float)
