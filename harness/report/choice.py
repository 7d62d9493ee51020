"""The choice: the method with the best validation value, its test value beside it.

Choosing on the test split would report the luckiest cell as the best method, so test values are never
compared here.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from harness.report import measures
from harness.report.cohorts import Cohort, Row

# The gold passage is not there when the method is used: an upper bound, not something to choose.
NOT_CHOSEN = ("oracle",)


@dataclass(frozen=True)
class Choice:
    row: Row
    # of the best method, the seed with the best validation value
    validation: float
    # the mean over its seeds
    seeds: int
    tied: tuple[str, ...]
    # other methods with exactly that validation value


def choose(cohort: Cohort) -> Choice | None:
    """Highest validation value, the mean over a method's seeds; a tie goes to the fewest parameters."""
    cells: dict[str, list[Row]] = {}
    for row in cohort.rows:
        if measures.validation(row.record) is not None and row.record.context not in NOT_CHOSEN:
            cells.setdefault(row.name, []).append(row)
    if not cells:
        return None
    means = {name: fmean(_validation(row) for row in rows) for name, rows in cells.items()}
    best = max(means.values())
    level = sorted((n for n, mean in means.items() if mean == best), key=lambda n: (_trained(cells[n][0]), n))
    rows = sorted(cells[level[0]], key=lambda row: (-_validation(row), row.record.seed))
    return Choice(rows[0], best, len(rows), tuple(level[1:]))


def zero_shot(cohort: Cohort) -> Row | None:
    """The first run of the untouched model that has a quality."""
    rows = [r for r in cohort.rows if r.record.method == "zero_shot" and measures.quality(r.record)]
    return min(rows, key=lambda row: row.record.seed, default=None)


def _validation(row: Row) -> float:
    value = measures.validation(row.record)
    return float("-inf") if value is None else value


def _trained(row: Row) -> float:
    return measures.number(row.record.training, "trainable_parameters") or 0.0
