"""What following a rule costs: how far its method falls short of the best one in hindsight.

For each task the rule takes a method on resampled validation items and seeds; regret is how much less that method
reaches on all test items than the one that reaches most there. Two other rules beside it: always LoRA, and the slogan
"train behaviour, retrieve knowledge". Neither compares methods; of several ranks or settings of the one they name they
have the best on validation.

>>> over_tasks([of_task(cohort) for cohort in cohorts])
[Regret('harness decide', within=0.97, mean=0.004, least=0.95, tasks=4), Regret('always LoRA', ...), ...]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.decide.choose import MARGIN, by_cost, candidates, cost, taken_when_redrawn
from harness.decide.limits import Limits
from harness.decide.resampling import validation_scores
from harness.records import measures
from harness.records.cohorts import Cohort, Row

RULE, LORA, SLOGAN = "harness decide", "always LoRA", "train behaviour, retrieve knowledge"


@dataclass(frozen=True)
class Regret:
    """How a rule fares over tasks."""

    rule: str
    within: float
    """Share of draws, over all tasks, in which regret is at most MARGIN."""
    mean: float
    """Of the regret, on the metric's scale."""
    least: float
    """The lowest share with one task left out."""
    tasks: int


def of_task(cohort: Cohort) -> dict[str, tuple[float, float]]:
    """By rule, the share of draws with a regret of at most MARGIN, and the mean regret.

    Empty without answers to validation items or a second method; a rule that names what has not been run is left out.
    """
    rows = candidates(cohort, Limits())[0]
    reached = {row.name: quality.value for row in rows if (quality := measures.quality(row.record))}
    matrix = validation_scores([row for row in rows if row.name in reached])
    known = [row for row in rows if matrix and row.name in matrix.scores]
    if matrix is None or len(known) < 2:
        return {}
    cheapest = by_cost(known, {row.name: cost(row.record, Limits()) for row in known})
    lost = np.array([max(reached.values()) - reached[row.name] for row in cheapest])
    drawn = {RULE: lost[taken_when_redrawn(cheapest, matrix)]}
    retrieves = cheapest[0].record.probes == "knowledge"
    fixed = {LORA: _best_of("lora", cheapest), SLOGAN: _best_of("rag" if retrieves else "full", cheapest)}
    drawn |= {rule: lost[[cheapest.index(row)]] for rule, row in fixed.items() if row}
    return {rule: (float((some <= MARGIN + 1e-9).mean()), float(some.mean())) for rule, some in drawn.items()}


def over_tasks(found: Sequence[Mapping[str, tuple[float, float]]]) -> list[Regret]:
    """Each rule over the same tasks, those that all rules can be applied to, as `of_task` found them.

    Where there are none, the rule alone over the tasks that have it.
    """
    all_rules = list(dict.fromkeys(rule for one in found for rule in one))
    shared = [one for one in found if all(rule in one for rule in all_rules)]
    if not shared:
        all_rules, shared = [RULE], [one for one in found if RULE in one]
    return [_over(rule, [one[rule] for one in shared]) for rule in all_rules if shared]


def _best_of(method: str, rows: Sequence[Row]) -> Row | None:
    named = [row for row in rows if row.record.method == method]
    return max(named, key=lambda row: measures.validation(row.record) or 0.0, default=None)


def _over(rule: str, pairs: Sequence[tuple[float, float]]) -> Regret:
    within, mean = np.array(pairs).T
    left_out = [float(np.delete(within, task).mean()) for task in range(len(within))] if len(within) > 1 else within
    return Regret(rule, float(within.mean()), float(mean.mean()), float(min(left_out)), len(within))
