"""Scores of methods on the same validation items, resampled to measure how certain a choice between them is."""

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
    """Scores on the validation items that most rows have answered; if two sets tie, on the larger one.

    So a run on a few items does not shrink the comparison of the others. Rows that lack some of these items are not in
    the matrix. None if there are fewer than two items.
    """
    by_run = {row.name: [scores.read(run, "validation") for run in row.runs] for row in rows}
    complete = {name: [run for run in runs if run] for name, runs in by_run.items() if all(runs)}
    items = {name: frozenset.intersection(*(frozenset(run.ids) for run in runs)) for name, runs in complete.items()}
    counts = Counter(items.values())
    common = max(counts, key=lambda ids: (counts[ids], len(ids)), default=frozenset())
    if len(common) < 2:
        return None
    return ScoreMatrix.of({name: runs for name, runs in complete.items() if common <= items[name]})


def compare_checkpoints(matrix: ScoreMatrix, name: str, other: str) -> Comparison:
    """Compare the mean scores of two methods' seeds, ignoring variation between seeds: what more items could show."""
    first, second = (matrix.scores[method].mean(0).tolist() for method in (name, other))
    return stats.compare(first, second, matrix.clusters)


def redraw(matrix: ScoreMatrix, names: Sequence[str], draws: int = DRAWS) -> Draws:
    """Resample clusters of items, the same for all methods, and seeds, separately for each method."""
    random = np.random.default_rng(0)
    clusters = matrix.clusters or [None] * len(matrix.ids)
    labels = [item if cluster is None else str(cluster) for item, cluster in zip(matrix.ids, clusters, strict=True)]
    units, unit_of_item = np.unique(np.array(labels), return_inverse=True)
    weights = _counts(random, len(units), draws)[:, unit_of_item]
    means = np.array([_mean(matrix.scores[name], weights, random) for name in names])
    return Draws(matrix, weights, {name: i for i, name in enumerate(names)}, means)


@dataclass(frozen=True)
class Draws:
    """Resamples of items and seeds, and each method's mean in them."""

    matrix: ScoreMatrix
    weights: Floats
    """How often each item was drawn; shape (draws, items)."""
    positions: Mapping[str, int]
    """Each method's index in `means`, by name."""
    means: Floats
    """Mean scores; shape (methods, draws)."""

    def p(self, name: str, other: str) -> Floats:
        """The p-value of the difference between two methods in each resample; shape (draws,).

        If `ScoreMatrix.compare` uses exact McNemar on all items, so does each resample; otherwise t with the standard
        error of all items.
        """
        overall = self.matrix.compare(name, other)
        if overall.test == "exact McNemar":
            first, second = (self.matrix.scores[method][0] for method in (name, other))
            return stats.mcnemar(self.weights @ (first > second), self.weights @ (first < second))
        if not overall.error:
            return np.full(len(self.weights), overall.p)
        difference = self.means[self.positions[name]] - self.means[self.positions[other]]
        return stats.two_sided_p(difference / overall.error, overall.freedom)


def _mean(scores: Floats, weights: Floats, random: np.random.Generator) -> Floats:
    """Weighted means over items of resampled seeds; weights: shape (draws, items)."""
    seeds = _counts(random, len(scores), len(weights)) / len(scores)
    return np.asarray(((seeds @ scores) * weights).sum(1) / weights.sum(1))


def _counts(random: np.random.Generator, count: int, draws: int) -> Floats:
    """How often each of `count` units is drawn with replacement; shape (draws, count)."""
    return random.multinomial(count, np.full(count, 1 / count), size=draws).astype(float)
