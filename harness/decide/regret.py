"""The regret of a rule: how far the method it chooses falls short of the best one in hindsight.

For each task the rule chooses a method on resampled validation items and seeds. Its regret is the difference on all
test items between the best method there and the chosen one. Two rules without measurements serve as references: always
LoRA, and the slogan "train behaviour, retrieve knowledge". If the method they name was run with several ranks or
settings, they get the best one on validation.

>>> over_tasks([of_task(cohort) for cohort in cohorts])
[Regret('harness decide', within=0.97, mean=0.004, least=0.95, tasks=4), Regret('always LoRA', ...), ...]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.decide.choose import MARGIN, by_cost, candidates, chosen_in_resamples, cost
from harness.decide.limits import Limits
from harness.decide.resampling import validation_scores
from harness.records import measures
from harness.records.cohorts import Cohort, Row

RULE, LORA, SLOGAN = "harness decide", "always LoRA", "train behaviour, retrieve knowledge"


@dataclass(frozen=True)
class Regret:
    """The regret of a rule over tasks."""

    rule: str
    within: float
    """Share of resamples, over all tasks, with a regret of at most MARGIN."""
    mean: float
    """Mean regret, on the metric's scale."""
    least: float
    """The lowest share if any one task is left out."""
    tasks: int


def of_task(cohort: Cohort) -> dict[str, tuple[float, float]]:
    """By rule, the share of resamples with a regret of at most MARGIN, and the mean regret.

    Empty without validation predictions or with fewer than two methods; without rules whose method was not run.
    """
    rows = candidates(cohort, Limits())[0]
    quality = {row.name: q.value for row in rows if (q := measures.quality(row.record))}
    matrix = validation_scores([row for row in rows if row.name in quality])
    scored = [row for row in rows if matrix and row.name in matrix.scores]
    if matrix is None or len(scored) < 2:
        return {}
    ordered = by_cost(scored, {row.name: cost(row.record, Limits()) for row in scored})
    shortfall = np.array([max(quality.values()) - quality[row.name] for row in ordered])
    regrets = {RULE: shortfall[chosen_in_resamples(ordered, matrix)]}
    knowledge = ordered[0].record.probes == "knowledge"
    fixed = {LORA: _best_of("lora", ordered), SLOGAN: _best_of("rag" if knowledge else "full", ordered)}
    regrets |= {rule: shortfall[[ordered.index(row)]] for rule, row in fixed.items() if row}
    return {rule: (float((values <= MARGIN + 1e-9).mean()), float(values.mean())) for rule, values in regrets.items()}


def over_tasks(tasks: Sequence[Mapping[str, tuple[float, float]]]) -> list[Regret]:
    """The regret of each rule over the tasks to which all rules apply. tasks: results of `of_task`.

    If there is no such task, only this project's rule, over the tasks that have it.
    """
    all_rules = list(dict.fromkeys(rule for task in tasks for rule in task))
    shared = [task for task in tasks if all(rule in task for rule in all_rules)]
    if not shared:
        all_rules, shared = [RULE], [task for task in tasks if RULE in task]
    return [_regret(rule, [task[rule] for task in shared]) for rule in all_rules if shared]


def _best_of(method: str, rows: Sequence[Row]) -> Row | None:
    matches = [row for row in rows if row.record.method == method]
    return max(matches, key=lambda row: measures.validation(row.record) or 0.0, default=None)


def _regret(rule: str, pairs: Sequence[tuple[float, float]]) -> Regret:
    within, mean = np.array(pairs).T
    left_out = [float(np.delete(within, task).mean()) for task in range(len(within))] if len(within) > 1 else within
    return Regret(rule, float(within.mean()), float(mean.mean()), float(min(left_out)), len(within))
