"""The gate: from the differences on several tasks to one verdict.

The whole is judged by the mean difference over the tasks (tasks fixed, items and training seeds drawn) with its 95 %
interval, and not by every task alone: of 8 tasks with 300 items and 10 % discordance an equal method is no worse by
2 points on all of them hardly ever, on their mean (standard error 0.65 points) in Phi(2 / 0.65 - 1.96) = 87 %. A method
that is 2 points worse passes in 2.5 %, since the interval's lower bound has to lie above the margin. What a mean can
hide has two rules of its own: a task that fell by more than 5 points with a difference that is significant after Holm's
correction keeps the gate from passing, and makes the whole worse where after such a correction it also lies below the
margin (tried without that: 1.2 % of equal methods on 8 tasks of 300 items came out as worse, simulated); and a drop on
every task that no single one can show is tested on the mean, one-sided, and said beside the verdict.

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
FALL = 0.05  # of a single task, in its metric
PASSES = ("better", "no_worse")


@dataclass(frozen=True)
class Evidence:
    """What is known of one task."""

    found: Comparison
    """Candidate minus baseline, in the metric's good direction."""
    margin: float
    barred: bool = False
    """It may not pass: items are missing, a run of the candidate failed."""
    seed_variance: float = 0.0
    """The part of the difference's variance that training seeds have."""
    one_seed: float = 0.0
    """What that part would be with one seed of each method."""

    @property
    def limit(self) -> float:
        """How far this task alone may fall."""
        return max(FALL, self.margin)

    @property
    def inconclusive(self) -> bool:
        """Whether the interval leaves it open, which more items or seeds would change."""
        return stats.verdict(self.found, self.margin) == "inconclusive"

    def verdict(self) -> str:
        said = stats.verdict(self.found, self.margin)
        return "inconclusive" if self.barred and said in PASSES else said


@dataclass(frozen=True)
class Judgement:
    """What the gate says; the tasks in the order of the evidence."""

    verdict: str
    verdicts: tuple[str, ...]
    corrected: tuple[float, ...]
    """p of each task's difference, corrected for the number of tasks (Holm)."""
    fallen: tuple[bool, ...]
    """By more than a single task may, significantly."""
    surely_worse: tuple[bool, ...]
    """Fallen, and below the margin whichever of the tasks one looks at."""
    pooled: Evidence

    @property
    def drift(self) -> float:
        """One-sided p of a drop of the mean over tasks."""
        return self.pooled.found.p_below()

    @property
    def drifted(self) -> bool:
        return self.drift < LEVEL


def judge(tasks: Sequence[Evidence]) -> Judgement:
    """The verdict of at least one task."""
    corrected = stats.holm([task.found.p for task in tasks])
    fallen = [task.found.value < -task.limit and p < LEVEL for task, p in zip(tasks, corrected, strict=True)]
    below = stats.holm([task.found.p_below(-task.margin) for task in tasks])
    surely = [fell and p < ONE_SIDED for fell, p in zip(fallen, below, strict=True)]
    whole = pool(tasks)
    said = whole.verdict()
    if any(surely):
        said = "worse"
    elif any(fallen) and said in PASSES:
        said = "inconclusive"
    verdicts = tuple(task.verdict() for task in tasks)
    return Judgement(said, verdicts, tuple(corrected), tuple(fallen), tuple(surely), whole)


def pool(tasks: Sequence[Evidence]) -> Evidence:
    """The mean over tasks, against the mean of their margins."""
    count = len(tasks)
    return Evidence(
        stats.pooled([task.found for task in tasks]),
        sum(task.margin for task in tasks) / count,
        any(task.barred for task in tasks),
        sum(task.seed_variance for task in tasks) / count**2,
        sum(task.one_seed for task in tasks) / count**2,
    )


def bounded(found: Comparison) -> Comparison:
    """A difference whose error is never surer than its interval: where all are the same, their spread says nothing."""
    if found.sd:
        return found
    error = max(found.high - found.value, found.value - found.low) / stats.Z
    return replace(found, sd=error * math.sqrt(found.n))


def items_needed(task: Evidence) -> int | None:
    """Items in all, those asked included, with which an equal method would pass four times in five.

    One-sided 97.5 % against the margin: the mean over the items known and the new ones, less its interval, has to lie
    above the margin by 0.84 standard errors of what the new ones add. From few items on this is
    stats.items_needed(margin, sd). None where no number is enough, since training seeds alone leave it open.
    """
    n, value = task.found.n, task.found.value
    of_one = max(0.0, task.found.error**2 - task.seed_variance) * n

    def enough(total: int) -> bool:
        error = math.sqrt(of_one / total + task.seed_variance)
        scatter = math.sqrt(of_one * (total - n)) / total
        return n * value / total + task.margin >= stats.Z * error + NormalDist().inv_cdf(stats.POWER) * scatter

    if not math.isfinite(of_one) or stats.Z * math.sqrt(task.seed_variance) >= task.margin:
        return None
    below, above = n, 2 * n
    while not enough(above):
        below, above = above, 2 * above
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if enough(middle) else (middle, above)
    return above


def seeds_needed(task: Evidence) -> int | None:
    """Training seeds of each method with which an equal method would pass four times in five, the items as they are.

    None where seeds are not what is lacking, or where with any number of them the items leave it open.
    """
    left = stats.needed_error(task.margin) ** 2 - max(0.0, task.found.error**2 - task.seed_variance)
    return math.ceil(task.one_seed / left) if 0 < left < task.seed_variance else None
