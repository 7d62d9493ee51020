"""The choice: the method with the best validation value, its test value beside it.

Choosing on the test split would report the luckiest cell as the best method, so test values are never
compared here.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.report import measures
from harness.report.cohorts import Cohort, Row

# The gold passage is not there when the method is used: an upper bound, not something to choose.
NOT_CHOSEN = ("oracle",)


@dataclass(frozen=True)
class Choice:
    row: Row
    validation: float
    tied: tuple[str, ...]
    # other methods with exactly that validation value


def choose(cohort: Cohort) -> Choice | None:
    """Highest validation value, the mean over a method's seeds; a tie goes to the fewest parameters."""
    known = [(value, row) for row in cohort.rows if (value := measures.validation(row.record)) is not None]
    allowed = [(value, row) for value, row in known if row.record.context not in NOT_CHOSEN]
    if not allowed:
        return None
    best = max(value for value, _ in allowed)
    first, *others = sorted((row for value, row in allowed if value == best), key=lambda r: (_trained(r), r.name))
    return Choice(first, best, tuple(row.name for row in others))


def zero_shot(cohort: Cohort) -> Row | None:
    """The untouched model, where it has a quality."""
    rows = (row for row in cohort.rows if row.record.method == "zero_shot" and measures.quality(row.record))
    return next(rows, None)


def _trained(row: Row) -> float:
    return measures.number(row.record.training, "trainable_parameters") or 0.0
