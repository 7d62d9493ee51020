"""The recommendation: the cheapest method within the limits that is about as good as the best.

It is chosen on validation alone; the test split says what the choice is worth. About as good: at most MARGIN below the
best on validation, and not significantly different from it over the validation items. So the top of a noisy table does
not win by luck, and of methods that tie the cheapest is chosen. How sure that is: the share of resampled validation
items and training seeds on which the same rule chooses the same method.
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
"""Contexts with the gold passage, which is not there when the method is used: an upper bound, nothing to choose."""


@dataclass(frozen=True)
class Strategy:
    """What is recommended for one task."""

    row: Row
    values: Mapping[str, float]
    """By a row's name, what the choice was made on: its mean over the validation items that most rows have answered."""
    best: Row
    """The highest of these within the limits; often the same."""
    runner_up: Row | None
    alike: tuple[Row, ...]
    """Not to be told from the best, the cheapest first."""
    near: tuple[Row, ...]
    """Within MARGIN of the best and yet told from it, item by item."""
    could_lose: float | None
    """Against the best, at most: the upper end of the paired interval; None without validation answers."""
    probability: float | None
    """That the rule takes the same method on other validation items; None as above."""
    several_seeds: bool
    """Whether these were drawn too."""
    rival: Rival | None
    """None where the rule hardly ever takes another."""


@dataclass(frozen=True)
class Rival:
    """The other method that the rule takes most often on other validation items."""

    row: Row
    probability: float
    items: int | None
    """Validation items on which a difference of MARGIN between the two would show; None where there are as many
    already."""


@dataclass(frozen=True)
class Excluded:
    row: Row
    broken: tuple[Broken, ...]

    @property
    def why(self) -> tuple[str, ...]:
        return tuple(one.need for one in self.broken)


def recommend(cohort: Cohort) -> Strategy | None:
    """The strategy where nothing is limited; None where no run has a validation value."""
    rows, _ = candidates(cohort, Limits())
    return choose(rows, Limits()) if rows else None


def zero_shot(cohort: Cohort) -> Row | None:
    """The untouched model, where it has a quality."""
    rows = (row for row in cohort.rows if row.record.method == measures.UNTRAINED and measures.quality(row.record))
    return min(rows, key=lambda row: row.name, default=None)  # of two results folders; not the better one


def candidates(cohort: Cohort, limits: Limits) -> tuple[list[Row], list[Excluded]]:
    """Methods with a validation value within the limits, and those that break one."""
    rows = [
        row
        for row in cohort.rows
        if measures.validation(row.record) is not None and row.record.context not in NOT_CHOSEN
    ]
    broken = {row.name: tuple(limits.broken(row.record)) for row in rows}
    fitting = [row for row in rows if not broken[row.name]]
    return fitting, [Excluded(row, broken[row.name]) for row in rows if broken[row.name]]


def no_candidates(cohort: Cohort) -> Iterator[tuple[Row, str]]:
    """Methods of which nothing can be said, and why."""
    for row in cohort.rows:
        if row.record.status != "ok":
            yield row, f"its run is {row.record.status}"
        elif measures.validation(row.record) is None and row.record.context not in NOT_CHOSEN:
            yield row, "it has no validation value"


def choose(rows: Sequence[Row], limits: Limits) -> Strategy:
    """The strategy among rows that are within the limits; at least one."""
    matrix = validation_scores(rows)
    values = {row.name: _value(row, matrix) for row in rows}
    costs = {row.name: cost(row.record, limits) for row in rows}
    best = max(rows, key=lambda row: (values[row.name], _reversed(costs[row.name])))
    near = [row for row in rows if values[best.name] - values[row.name] <= MARGIN + 1e-9]
    alike = by_cost([row for row in near if not _differ(best, row, matrix)], costs)
    taken = alike[0]
    others = sorted((row for row in rows if row is not taken), key=lambda row: (-values[row.name], costs[row.name]))
    shares = _shares(rows, costs, matrix) if matrix else {}
    known = matrix is not None and {taken.name, best.name} <= matrix.scores.keys()
    loses = 0.0
    if matrix and known and taken is not best:
        loses = min(1.0, max(0.0, matrix.compare(best.name, taken.name).high))
    return Strategy(
        row=taken,
        values=values,
        best=best,
        runner_up=others[0] if others else None,
        alike=tuple(alike),
        near=tuple(row for row in near if row not in alike),
        could_lose=loses if known else None,
        probability=shares[taken.name] if known else None,
        several_seeds=matrix is not None and max(map(len, matrix.scores.values())) > 1,
        rival=_rival(rows, taken, shares, matrix) if matrix and known else None,
    )


def _value(row: Row, matrix: ScoreMatrix | None) -> float:
    """Over the items of the matrix; over its own if it has not answered these."""
    scores = matrix.scores.get(row.name) if matrix else None
    return (measures.validation(row.record) or 0.0) if scores is None else float(scores.mean())


def _differ(best: Row, row: Row, matrix: ScoreMatrix | None) -> bool:
    if matrix is None or row is best or not {row.name, best.name} <= matrix.scores.keys():
        return False
    return matrix.compare(best.name, row.name).p < LEVEL


def cost(record: Record, limits: Limits) -> tuple[float, ...]:
    """What a method is compared by: machine seconds of a month where requests are given, else memory, then set-up.

    A method that has learned facts is trained again at every change, an index is built again; others are set up once.
    """
    needed, each = measures.peak_memory(record), request_seconds(record)
    memory = needed if needed is not None else inf
    if limits.requests is None:
        return memory, _set_up(record, limits), each if each is not None else inf
    return month_seconds(record, limits), memory


def month_seconds(record: Record, limits: Limits) -> float:
    """Machine seconds of the first month, set-up included; infinite where a request's time is not known."""
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


def taken_when_redrawn(rows: Sequence[Row], matrix: ScoreMatrix) -> NDArray[np.int64]:
    """Which of the rows, the cheapest first, the rule takes on resampled items and seeds; shape (draws,)."""
    draws = redraw(matrix, [row.name for row in rows])
    near = draws.means.max(0) - draws.means <= MARGIN + 1e-9
    best = draws.means.argmax(0)
    for place, row in enumerate(rows):
        for other, rival in enumerate(rows):
            asked = near[other] & (best == place)
            if other != place and asked.any():
                near[other, asked] = draws.p(row.name, rival.name)[asked] >= LEVEL
    return near.argmax(0)


def _shares(rows: Sequence[Row], costs: Mapping[str, tuple[float, ...]], matrix: ScoreMatrix) -> dict[str, float]:
    """Share of the draws in which each row is taken; of rows that have answers."""
    cheapest = [row for row in by_cost(rows, costs) if row.name in matrix.scores]
    drawn = taken_when_redrawn(cheapest, matrix)
    return {row.name: float((drawn == place).mean()) for place, row in enumerate(cheapest)}


def _rival(rows: Sequence[Row], taken: Row, shares: Mapping[str, float], matrix: ScoreMatrix) -> Rival | None:
    others = [row for row in rows if row is not taken and shares.get(row.name, 0.0) >= LEVEL]
    if not others:
        return None
    rival = max(others, key=lambda row: shares[row.name])
    apart = compare_checkpoints(matrix, taken.name, rival.name)
    items = stats.items_needed(MARGIN, apart.sd) if apart.sd < inf else None
    return Rival(rival, shares[rival.name], items if items and items > apart.n else None)
