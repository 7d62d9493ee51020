"""The scores of two methods on the same items, and what is missing of them."""

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
    """Scores over the items that every finished run of both has scored; shape (seeds, items)."""

    candidate: Floats
    baseline: Floats
    clusters: Sequence[Hashable] | None
    asked: int
    """Items that any run of either has been asked."""

    @property
    def n(self) -> int:
        return int(self.candidate.shape[1])

    @property
    def missing(self) -> int:
        """Items that some run was not asked or could not answer."""
        return self.asked - self.n

    @property
    def share_missing(self) -> float:
        return self.missing / self.asked if self.asked else 1.0


def pair(baseline: Method, candidate: Method) -> Paired:
    asked = {item for method in (candidate, baseline) for rows in method.predictions for item in rows}
    sides = {"candidate": candidate.finished, "baseline": baseline.finished}
    read = {side: [scores.read(run) for run in runs] for side, runs in sides.items()}
    known = {side: [run for run in runs if run] for side, runs in read.items() if all(runs)}
    matrix = ScoreMatrix.of(known) if len(known) == len(sides) else None
    if matrix is None:
        ours, theirs = (np.empty((len(runs), 0)) for runs in sides.values())
        return Paired(ours, theirs, None, len(asked))
    return Paired(matrix.scores["candidate"], matrix.scores["baseline"], matrix.clusters, len(asked))


def weigh(paired: Paired, metric: str, margin: float, *, barred: bool) -> Evidence:
    """The difference in the metric's good direction; at least one item."""
    ours, theirs = paired.candidate, paired.baseline
    found = stats.compare_over_seeds(ours, theirs, paired.clusters)
    if not HIGHER_IS_BETTER[metric]:
        found = replace(found, value=-found.value, low=-found.high, high=-found.low)
    seeds = [(stats.seed_variance(scores), len(scores)) for scores in (ours, theirs)]
    variance, of_one = sum(part for part, _ in seeds), sum(part * count for part, count in seeds)
    return Evidence(bounded(found), margin, barred, variance, of_one)
