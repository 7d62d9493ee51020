"""The scores of two methods on the same items, and how many are missing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import stats
from harness.check.gate import Evidence, bounded
from harness.records import scores
from harness.records.methods import Method
from harness.records.scores import ScoreMatrix
from harness.stats import Floats
from harness.tasks.metrics import HIGHER_IS_BETTER


@dataclass(frozen=True)
class Paired:
    """Scores on the items that all finished runs of both methods have scored; shape (seeds, items)."""

    candidate: Floats
    baseline: Floats
    clusters: Sequence[Hashable] | None
    asked: int
    """Items with a prediction in any run of either method."""

    @property
    def n(self) -> int:
        return int(self.candidate.shape[1])

    @property
    def missing(self) -> int:
        """Items without a score in some run."""
        return self.asked - self.n

    @property
    def share_missing(self) -> float:
        return self.missing / self.asked if self.asked else 1.0


def pair(baseline: Method, candidate: Method) -> Paired:
    items = {item for method in (candidate, baseline) for rows in method.predictions for item in rows}
    sides = {"candidate": candidate.finished, "baseline": baseline.finished}
    by_run = {side: [scores.read(run) for run in runs] for side, runs in sides.items()}
    complete = {side: [run for run in runs if run] for side, runs in by_run.items() if all(runs)}
    matrix = ScoreMatrix.of(complete) if len(complete) == len(sides) else None
    if matrix is None:
        no_scores = {side: np.empty((len(runs), 0)) for side, runs in sides.items()}
        return Paired(no_scores["candidate"], no_scores["baseline"], None, len(items))
    return Paired(matrix.scores["candidate"], matrix.scores["baseline"], matrix.clusters, len(items))


def weigh(paired: Paired, metric: str, margin: float, *, barred: bool) -> Evidence:
    """The difference as evidence, positive if the candidate is better; needs at least one item."""
    difference = stats.compare_over_seeds(paired.candidate, paired.baseline, paired.clusters)
    if not HIGHER_IS_BETTER[metric]:
        difference = replace(difference, value=-difference.value, low=-difference.high, high=-difference.low)
    seeds = [(stats.seed_variance(scores), len(scores)) for scores in (paired.candidate, paired.baseline)]
    variance, one_seed = sum(part for part, _ in seeds), sum(part * count for part, count in seeds)
    return Evidence(bounded(difference), margin, barred, variance, one_seed)
