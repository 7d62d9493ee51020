"""Recommends a strategy for each task within given limits: `harness decide`.

>>> decisions = decide("results/reference", Limits(memory=2 * 2**30))
>>> [(decision.task, decision.strategy.row.name) for decision in decisions if decision.strategy]
[('banking77', 'prefix'), ...]

It reads records and predictions: no model, no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.decide.choose import Excluded, Strategy, candidates, choose
from harness.decide.diagnosis import Diagnosis, diagnose
from harness.decide.limits import Limits
from harness.records.cohorts import Cohort, gather
from harness.records.reading import load_records

__all__ = ["Decision", "Limits", "decide"]


@dataclass(frozen=True)
class Decision:
    """The recommendation for one task on one model."""

    cohort: Cohort
    strategy: Strategy | None
    """None if no method fits the limits."""
    excluded: tuple[Excluded, ...]
    diagnosis: Diagnosis | None
    other_cohorts: int
    """Number of other cohorts of this task and model, with fewer items or other data."""

    @property
    def task(self) -> str:
        return self.cohort.key.task


def decide(selector: str, limits: Limits) -> list[Decision]:
    """A decision for each task and model, based on the cohort with the most items; UserError as in `reading.load`."""
    by_task: dict[tuple[str, str], list[Cohort]] = {}
    for cohort in gather(load_records(selector)):
        by_task.setdefault((cohort.key.task, cohort.key.model), []).append(cohort)
    return [_decision(cohorts, limits) for cohorts in by_task.values()]


def _decision(cohorts: list[Cohort], limits: Limits) -> Decision:
    cohort = max(cohorts, key=lambda cohort: cohort.size)
    fitting, excluded = candidates(cohort, limits)
    strategy = choose(fitting, limits) if fitting else None
    return Decision(cohort, strategy, tuple(excluded), diagnose(cohort), len(cohorts) - 1)
