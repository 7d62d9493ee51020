"""What methods score on the same validation items, drawn again for how sure a choice between them is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import stats
from harness.records import scores
from harness.records.cohorts import Row
from harness.records.scores import ScoreMatrix
from harness.stats import Comparison, Floats

DRAWS = 2000


def validation_scores(rows: Sequence[Row]) -> ScoreMatrix | None:
    """By row, over the validation items that most rows have answered; of two such sets the larger.

    So a run on a few items does not shrink what the others are compared on; a row that has not answered all of them is
    not in the matrix. None if they are fewer than two.
    """
    read = {row.name: [scores.read(run, "validation") for run in row.runs] for row in rows}
    answered = {name: [run for run in runs if run] for name, runs in read.items() if all(runs)}
    items = {name: frozenset.intersection(*(frozenset(run.ids) for run in runs)) for name, runs in answered.items()}
    times = Counter(items.values())
    most = max(times, key=lambda ids: (times[ids], len(ids)), default=frozenset())
    if len(most) < 2:
        return None
    return ScoreMatrix.of({name: runs for name, runs in answered.items() if most <= items[name]})


def compare_checkpoints(matrix: ScoreMatrix, name: str, other: str) -> Comparison:
    """Two methods as these checkpoints alone: what more items would show, and more seeds would not."""
    ours, theirs = (matrix.scores[one].mean(0).tolist() for one in (name, other))
    return stats.compare(ours, theirs, matrix.clusters)


def redraw(matrix: ScoreMatrix, names: Sequence[str], draws: int = DRAWS) -> Draws:
    """Resampled items and seeds: clusters of items, the same for all methods, and each method's own seeds."""
    random = np.random.default_rng(0)
    clusters = matrix.clusters or [None] * len(matrix.ids)
    named = [item if cluster is None else str(cluster) for item, cluster in zip(matrix.ids, clusters, strict=True)]
    units, of_item = np.unique(np.array(named), return_inverse=True)
    weights = _drawn(random, len(units), draws)[:, of_item]
    means = np.array([_mean(matrix.scores[name], weights, random) for name in names])
    return Draws(matrix, weights, {name: place for place, name in enumerate(names)}, means)


@dataclass(frozen=True)
class Draws:
    """The scores of resampled items by resampled seeds."""

    matrix: ScoreMatrix
    weights: Floats
    """How often each item was drawn; shape (draws, items)."""
    places: Mapping[str, int]
    """Of the methods in `means`, by name."""
    means: Floats
    """Shape (methods, draws)."""

    def p(self, name: str, other: str) -> Floats:
        """How surely two methods differ in each draw, as `ScoreMatrix.compare` says it of all items; shape (draws,).

        Exact McNemar over the items drawn if that is its test, else t with the standard error of all items.
        """
        overall = self.matrix.compare(name, other)
        if overall.test == "exact McNemar":
            ours, theirs = (self.matrix.scores[one][0] for one in (name, other))
            return stats.mcnemar(self.weights @ (ours > theirs), self.weights @ (ours < theirs))
        if not overall.error:
            return np.full(len(self.weights), overall.p)
        difference = self.means[self.places[name]] - self.means[self.places[other]]
        return stats.two_sided_p(difference / overall.error, overall.freedom)


def _mean(scores: Floats, weights: Floats, random: np.random.Generator) -> Floats:
    """Weighted means of resampled seeds; weights: shape (draws, items)."""
    seeds = _drawn(random, len(scores), len(weights)) / len(scores)
    return np.asarray(((seeds @ scores) * weights).sum(1) / weights.sum(1))


def _drawn(random: np.random.Generator, count: int, draws: int) -> Floats:
    """How often each of so many is drawn with replacement; shape (draws, count)."""
    return random.multinomial(count, np.full(count, 1 / count), size=draws).astype(float)
