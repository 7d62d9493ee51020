"""The gate: from the differences on several tasks to one verdict.

The verdict comes from the mean difference over the tasks (tasks fixed, items and training seeds drawn) with its 95 %
interval, not from each task alone. With 8 tasks of 300 items and 10 % discordance, an equal method is hardly ever no
worse by 2 points on all tasks, but in Phi(2 / 0.65 - 1.96) = 87 % on their mean (standard error 0.65 points). A method
that is 2 points worse passes in 2.5 %, because the interval's lower bound has to be above minus the margin.

A mean can hide two things, so each has a rule. If a task drops by more than 5 points and the difference is significant
after Holm's correction, the gate does not pass; if the drop is also below the margin after such a correction, the
verdict is worse (without that second condition, 1.2 % of equal methods on 8 tasks of 300 items came out as worse in a
simulation). A drop on every task that no single task can show is tested on the mean, one-sided, and reported beside the
verdict.

>>> judge([Evidence(stats.compare(candidate, baseline), margin=0.02)]).verdict
'inconclusive'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from harness import stats
from harness.stats import LEVEL, Comparison

ONE_SIDED = (1 - stats.CONFIDENCE) / 2
FALL = 0.05  # allowed for a single task, on its metric's scale
PASSES = ("better", "no_worse")


@dataclass(frozen=True)
class Evidence:
    """The measured difference on one task, or over all tasks."""

    difference: Comparison
    """Candidate minus baseline, in the metric's good direction."""
    margin: float
    barred: bool = False
    """Whether the task may not pass: items are missing, or a run of the candidate failed."""
    seed_variance: float = 0.0
    """The training seeds' part of the difference's variance."""
    one_seed: float = 0.0
    """What that part would be with one seed for each method."""

    @property
    def limit(self) -> float:
        """How much this task alone may drop."""
        return max(FALL, self.margin)

    @property
    def inconclusive(self) -> bool:
        """Whether the interval is inconclusive, so that more items or seeds would help."""
        return stats.verdict(self.difference, self.margin) == "inconclusive"

    def verdict(self) -> str:
        verdict = stats.verdict(self.difference, self.margin)
        return "inconclusive" if self.barred and verdict in PASSES else verdict


@dataclass(frozen=True)
class Judgement:
    """The gate's verdicts; tasks in the order of the evidence."""

    verdict: str
    verdicts: tuple[str, ...]
    corrected: tuple[float, ...]
    """p of each task's difference, corrected for the number of tasks (Holm)."""
    fallen: tuple[bool, ...]
    """Whether a task dropped significantly by more than a single task may."""
    surely_worse: tuple[bool, ...]
    """Whether a fallen task is below its margin even after correction for the number of tasks."""
    pooled: Evidence

    @property
    def drift(self) -> float:
        """One-sided p of a drop of the mean over tasks."""
        return self.pooled.difference.p_below()

    @property
    def drifted(self) -> bool:
        return self.drift < LEVEL


def judge(tasks: Sequence[Evidence]) -> Judgement:
    """The verdict on at least one task."""
    corrected = stats.holm([task.difference.p for task in tasks])
    fallen = [task.difference.value < -task.limit and p < LEVEL for task, p in zip(tasks, corrected, strict=True)]
    below = stats.holm([task.difference.p_below(-task.margin) for task in tasks])
    surely = [fell and p < ONE_SIDED for fell, p in zip(fallen, below, strict=True)]
    pooled = pool(tasks)
    verdict = pooled.verdict()
    if any(surely):
        verdict = "worse"
    elif any(fallen) and verdict in PASSES:
        verdict = "inconclusive"
    verdicts = tuple(task.verdict() for task in tasks)
    return Judgement(verdict, verdicts, tuple(corrected), tuple(fallen), tuple(surely), pooled)


def pool(tasks: Sequence[Evidence]) -> Evidence:
    """The mean over tasks, against the mean of their margins."""
    count = len(tasks)
    return Evidence(
        stats.pooled([task.difference for task in tasks]),
        sum(task.margin for task in tasks) / count,
        any(task.barred for task in tasks),
        sum(task.seed_variance for task in tasks) / count**2,
        sum(task.one_seed for task in tasks) / count**2,
    )


def bounded(difference: Comparison) -> Comparison:
    """Derive the standard error from the interval if it is 0, as it is when all items have the same difference."""
    if difference.sd:
        return difference
    error = max(difference.high - difference.value, difference.value - difference.low) / stats.Z
    return replace(difference, sd=error * math.sqrt(difference.n))


def items_needed(task: Evidence) -> int | None:
    """Items in all, including those available, with which an equal method would pass with 80 % probability.

    One-sided 97.5 % against the margin: the lower bound of the mean over old and new items has to be above minus the
    margin by 0.84 standard errors of the new items' part. With few items so far this is close to
    stats.items_needed(margin, sd). None if no number is enough because the training seeds vary too much.
    """
    n, value = task.difference.n, task.difference.value
    item_variance = max(0.0, task.difference.error**2 - task.seed_variance) * n

    def enough(total: int) -> bool:
        error = math.sqrt(item_variance / total + task.seed_variance)
        scatter = math.sqrt(item_variance * (total - n)) / total
        return n * value / total + task.margin >= stats.Z * error + NormalDist().inv_cdf(stats.POWER) * scatter

    if not math.isfinite(item_variance) or stats.Z * math.sqrt(task.seed_variance) >= task.margin:
        return None
    below, above = n, 2 * n
    while not enough(above):
        below, above = above, 2 * above
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if enough(middle) else (middle, above)
    return above


def seeds_needed(task: Evidence) -> int | None:
    """Training seeds of each method with which an equal method would pass with 80 % probability on the same items.

    None if more seeds are not needed, or if no number of seeds is enough because there are too few items.
    """
    allowed = stats.needed_error(task.margin) ** 2 - max(0.0, task.difference.error**2 - task.seed_variance)
    return math.ceil(task.one_seed / allowed) if 0 < allowed < task.seed_variance else None
