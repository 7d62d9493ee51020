"""The recommendation: the cheapest method within the limits that is about as good as the best.

Only validation scores decide; the test split estimates what the choice is worth. About as good means at most MARGIN
below the best on validation and not significantly different from it over the validation items. So the top of a noisy
table does not win by luck, and the cheapest of tied methods is chosen. The certainty of the choice is the share of
resamples of validation items and training seeds in which the same rule chooses the same method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.decide.limits import Broken, Limits, learned_facts
from harness.decide.resampling import compare_checkpoints, redraw, validation_scores
from harness.records import measures
from harness.records.cohorts import Cohort, Row
from harness.records.costs import index_seconds, request_seconds, training_seconds
from harness.records.record import Record
from harness.records.scores import ScoreMatrix
from harness.stats import LEVEL

MARGIN = 0.02
NOT_CHOSEN = ("oracle",)
"""Contexts with the gold passage, which is unavailable in use: an upper bound, not a choice."""


@dataclass(frozen=True)
class Strategy:
    """The recommended method for one task, and its competitors."""

    row: Row
    values: Mapping[str, float]
    """Validation value by row name: the mean over the validation items that most rows have answered."""
    best: Row
    """The row with the highest value within the limits; often the chosen one."""
    runner_up: Row | None
    alike: tuple[Row, ...]
    """Rows within MARGIN of the best and not significantly different from it, the cheapest first."""
    within_margin: tuple[Row, ...]
    """Rows within MARGIN of the best but significantly different from it, item by item."""
    could_lose: float | None
    """Most that the choice could lose against the best: upper end of the paired interval; None without predictions."""
    probability: float | None
    """Share of resamples in which the rule chooses the same method; None without validation predictions."""
    several_seeds: bool
    """Whether seeds were resampled too."""
    rival: Rival | None
    """None if the rule almost never chooses another method."""


@dataclass(frozen=True)
class Rival:
    """The method that the rule chooses most often instead, in resamples of the validation items."""

    row: Row
    probability: float
    items: int | None
    """Validation items that would detect a difference of MARGIN between the two; None if there are enough already."""


@dataclass(frozen=True)
class Excluded:
    row: Row
    broken: tuple[Broken, ...]

    @property
    def why(self) -> tuple[str, ...]:
        return tuple(limit.need for limit in self.broken)


def recommend(cohort: Cohort) -> Strategy | None:
    """The strategy without limits; None if no run has a validation value."""
    rows, _ = candidates(cohort, Limits())
    return choose(rows, Limits()) if rows else None


def zero_shot(cohort: Cohort) -> Row | None:
    """The row of the unchanged model, if its quality is known."""
    rows = (row for row in cohort.rows if row.record.method == measures.UNTRAINED and measures.quality(row.record))
    return min(rows, key=lambda row: row.name, default=None)  # two results folders: not the better one


def candidates(cohort: Cohort, limits: Limits) -> tuple[list[Row], list[Excluded]]:
    """Methods with a validation value: those within the limits, and those that exceed one."""
    rows = [
        row
        for row in cohort.rows
        if measures.validation(row.record) is not None and row.record.context not in NOT_CHOSEN
    ]
    broken = {row.name: tuple(limits.broken(row.record)) for row in rows}
    fitting = [row for row in rows if not broken[row.name]]
    return fitting, [Excluded(row, broken[row.name]) for row in rows if broken[row.name]]


def not_considered(cohort: Cohort) -> Iterator[tuple[Row, str]]:
    """Methods that cannot be compared, and why."""
    for row in cohort.rows:
        if row.record.status != "ok":
            yield row, f"its run is {row.record.status}"
        elif measures.validation(row.record) is None and row.record.context not in NOT_CHOSEN:
            yield row, "it has no validation value"


def choose(rows: Sequence[Row], limits: Limits) -> Strategy:
    """The strategy among rows within the limits; needs at least one row."""
    matrix = validation_scores(rows)
    values = {row.name: _value(row, matrix) for row in rows}
    costs = {row.name: cost(row.record, limits) for row in rows}
    best = max(rows, key=lambda row: (values[row.name], _reversed(costs[row.name])))
    within_margin = [row for row in rows if values[best.name] - values[row.name] <= MARGIN + 1e-9]
    alike = by_cost([row for row in within_margin if not _differ(best, row, matrix)], costs)
    chosen = alike[0]
    others = sorted((row for row in rows if row is not chosen), key=lambda row: (-values[row.name], costs[row.name]))
    shares = _shares(rows, costs, matrix) if matrix else {}
    paired = matrix is not None and {chosen.name, best.name} <= matrix.scores.keys()
    loss = 0.0
    if matrix and paired and chosen is not best:
        loss = min(1.0, max(0.0, matrix.compare(best.name, chosen.name).high))
    return Strategy(
        row=chosen,
        values=values,
        best=best,
        runner_up=others[0] if others else None,
        alike=tuple(alike),
        within_margin=tuple(row for row in within_margin if row not in alike),
        could_lose=loss if paired else None,
        probability=shares[chosen.name] if paired else None,
        several_seeds=matrix is not None and max(map(len, matrix.scores.values())) > 1,
        rival=_rival(rows, chosen, shares, matrix) if matrix and paired else None,
    )


def _value(row: Row, matrix: ScoreMatrix | None) -> float:
    """Mean over the items of the matrix; the recorded value if the row is not in the matrix."""
    scores = matrix.scores.get(row.name) if matrix else None
    return (measures.validation(row.record) or 0.0) if scores is None else float(scores.mean())


def _differ(best: Row, row: Row, matrix: ScoreMatrix | None) -> bool:
    if matrix is None or row is best or not {row.name, best.name} <= matrix.scores.keys():
        return False
    return matrix.compare(best.name, row.name).p < LEVEL


def cost(record: Record, limits: Limits) -> tuple[float, ...]:
    """The sort key for cheapness: machine seconds of a month if the requests are given, else memory, then set-up.

    After every change of facts, a method that has learned them is trained again and an index is rebuilt; everything
    else is set up once.
    """
    peak, each = measures.peak_memory(record), request_seconds(record)
    memory = peak if peak is not None else inf
    if limits.requests is None:
        return memory, _set_up(record, limits), each if each is not None else inf
    return month_seconds(record, limits), memory


def month_seconds(record: Record, limits: Limits) -> float:
    """Machine seconds of the first month, including set-up; infinite if the time of a request is unknown."""
    each = request_seconds(record)
    return _set_up(record, limits) + (limits.requests or 0.0) * each if each is not None else inf


def _set_up(record: Record, limits: Limits) -> float:
    repeats, training = 1 + limits.changes, training_seconds(record)
    if training is None:
        return inf
    return training * (repeats if learned_facts(record) else 1.0) + index_seconds(record) * repeats


def _reversed(costs: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(-value for value in costs)


def by_cost(rows: Sequence[Row], costs: Mapping[str, tuple[float, ...]]) -> list[Row]:
    return sorted(rows, key=lambda row: (costs[row.name], row.name))


def chosen_in_resamples(rows: Sequence[Row], matrix: ScoreMatrix) -> NDArray[np.int64]:
    """The index of the row that the rule chooses in each resample of items and seeds; shape (draws,).

    rows: the cheapest first.
    """
    draws = redraw(matrix, [row.name for row in rows])
    eligible = draws.means.max(0) - draws.means <= MARGIN + 1e-9
    best = draws.means.argmax(0)
    for i, row in enumerate(rows):
        for j, rival in enumerate(rows):
            tested = eligible[j] & (best == i)
            if j != i and tested.any():
                eligible[j, tested] = draws.p(row.name, rival.name)[tested] >= LEVEL
    return eligible.argmax(0)


def _shares(rows: Sequence[Row], costs: Mapping[str, tuple[float, ...]], matrix: ScoreMatrix) -> dict[str, float]:
    """Share of resamples in which each row is chosen, by row name; only rows in the matrix."""
    ordered = [row for row in by_cost(rows, costs) if row.name in matrix.scores]
    chosen = chosen_in_resamples(ordered, matrix)
    return {row.name: float((chosen == i).mean()) for i, row in enumerate(ordered)}


def _rival(rows: Sequence[Row], chosen: Row, shares: Mapping[str, float], matrix: ScoreMatrix) -> Rival | None:
    others = [row for row in rows if row is not chosen and shares.get(row.name, 0.0) >= LEVEL]
    if not others:
        return None
    rival = max(others, key=lambda row: shares[row.name])
    difference = compare_checkpoints(matrix, chosen.name, rival.name)
    items = stats.items_needed(MARGIN, difference.sd) if difference.sd < inf else None
    return Rival(rival, shares[rival.name], items if items and items > difference.n else None)
