"""The scores of two methods on the same items, and what is missing of them."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from harness import stats
from harness.check.cells import Cell
from harness.check.gate import Evidence, bounded
from harness.stats import Floats
from harness.tasks.metrics import HIGHER_IS_BETTER


@dataclass(frozen=True)
class Paired:
    """Scores over the items that every finished run of both has scored; shape (seeds, items)."""

    candidate: Floats
    baseline: Floats
    clusters: list[Hashable] | None
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


def pair(baseline: Cell, candidate: Cell) -> Paired:
    scored = [[_scores(rows) for rows in cell.rows] for cell in (candidate, baseline)]
    runs = [scores for side in scored for scores in side]
    shared = sorted(set.intersection(*(set(scores) for scores in runs))) if all(scored) else []
    asked = {item for cell in (candidate, baseline) for rows in cell.rows for item in rows}
    named = baseline.rows[0] if baseline.rows else {}
    clusters = [named[item].get("cluster") for item in shared]
    ours, theirs = (
        np.array([[scores[item] for item in shared] for scores in side], float).reshape(len(side), len(shared))
        for side in scored
    )
    known = clusters if any(cluster is not None for cluster in clusters) else None
    return Paired(ours, theirs, known, len(asked))


def _scores(rows: dict[str, dict[str, object]]) -> dict[str, float]:
    """An item's score; unscored ones are absent."""
    named = ((item, row.get("score")) for item, row in rows.items())
    return {i: float(s) for i, s in named if isinstance(s, bool | int | float) and math.isfinite(s)}


def weigh(paired: Paired, metric: str, margin: float, *, barred: bool) -> Evidence:
    """The difference in the metric's good direction; at least one item."""
    ours, theirs = paired.candidate, paired.baseline
    found = stats.compare_over_seeds(ours, theirs, paired.clusters)
    if not HIGHER_IS_BETTER[metric]:
        found = replace(found, value=-found.value, low=-found.high, high=-found.low)
    seeds = [(stats.seed_variance(scores), len(scores)) for scores in (ours, theirs)]
    variance, of_one = sum(part for part, _ in seeds), sum(part * count for part, count in seeds)
    return Evidence(bounded(found), margin, barred, variance, of_one)
