"""The recommendation: the cheapest method within the limits that comes as close to the best as makes no difference.

Chosen on validation alone; the test split says what the choice is worth. As close as makes no difference: at most
MARGIN under the best on validation, and not to be told apart from it over the validation items. So a noisy table's top
does not win by luck, and of methods that tie the cheapest is taken. How sure that is: the share of resampled
validation items and training seeds on which the same rule takes the same method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.decide.answers import Answers
from harness.decide.limits import Limits, learned_facts, request_seconds
from harness.records import Record
from harness.report import measures
from harness.report.cohorts import Cohort, Row
from harness.report.cost import set_up_seconds

UNTRAINED = "zero_shot"
MARGIN = 0.02
LEVEL = 0.05
NOT_CHOSEN = ("oracle",)
"""Contexts with the gold passage, which is not there when the method is used: an upper bound, nothing to choose."""


@dataclass(frozen=True)
class Strategy:
    """What is recommended for one task."""

    row: Row
    best: Row
    # the highest validation value within the limits; often the same
    runner_up: Row | None
    alike: tuple[Row, ...]
    # not to be told from the best, the cheapest first
    could_lose: float | None
    # against the best, at most: the upper end of the paired interval; None without validation answers
    probability: float | None
    # that the rule takes the same method on other validation items
    rival: Rival | None
    # None where the rule hardly ever takes another


@dataclass(frozen=True)
class Rival:
    """The other method that the rule takes most often on other validation items."""

    row: Row
    probability: float
    items: int
    # validation items on which the two could be told apart if they differed by MARGIN


@dataclass(frozen=True)
class Excluded:
    row: Row
    why: tuple[str, ...]


def recommend(cohort: Cohort) -> Strategy | None:
    """The strategy where nothing is limited; None where no run has a validation value."""
    rows, _ = candidates(cohort, Limits())
    return choose(rows, Limits()) if rows else None


def zero_shot(cohort: Cohort) -> Row | None:
    """The untouched model, where it has a quality."""
    rows = (row for row in cohort.rows if row.record.method == UNTRAINED and measures.quality(row.record))
    return next(rows, None)


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


def choose(rows: Sequence[Row], limits: Limits) -> Strategy:
    """The strategy among rows that are within the limits; at least one."""
    values = {row.name: measures.validation(row.record) or 0.0 for row in rows}
    costs = {row.name: cost(row.record, limits) for row in rows}
    answers = Answers.of(rows)
    alike = _alike(rows, values, costs, answers)
    taken, best = alike[0], max(rows, key=lambda row: (values[row.name], _reversed(costs[row.name])))
    others = sorted((row for row in rows if row is not taken), key=lambda row: (-values[row.name], costs[row.name]))
    second = others[0] if others else None
    if answers is None:
        return Strategy(taken, best, second, tuple(alike), None, None, None)
    loses = max(0.0, answers.compare(best, taken).high)
    shares = _shares(rows, costs, answers)
    rival = _rival(rows, taken, shares, answers)
    return Strategy(taken, best, second, tuple(alike), loses, shares[taken.name], rival)


def cost(record: Record, limits: Limits) -> tuple[float, ...]:
    """What a method is compared by: machine seconds of a month where requests are given, else memory, then set-up.

    A method that has learned facts is trained again at every change, an index is built again; others are set up once.
    """
    needed, each = measures.peak_memory(record), request_seconds(record)
    memory = needed if needed is not None else float("inf")
    if limits.requests is None:
        return memory, _set_up(record, limits), each if each is not None else float("inf")
    return month_seconds(record, limits), memory


def month_seconds(record: Record, limits: Limits) -> float:
    """Machine seconds of the first month, set-up included; infinite where a request's time is not known."""
    each = request_seconds(record)
    return _set_up(record, limits) + (limits.requests or 0.0) * each if each is not None else float("inf")


def _set_up(record: Record, limits: Limits) -> float:
    repeats = 1 + limits.changes if learned_facts(record) or record.retrieval else 1.0
    return repeats * set_up_seconds(record)


def _alike(
    rows: Sequence[Row],
    values: Mapping[str, float],
    costs: Mapping[str, tuple[float, ...]],
    answers: Answers | None,
) -> list[Row]:
    """Rows as good as the best, the cheapest first."""
    best = max(rows, key=lambda row: (values[row.name], _reversed(costs[row.name])))
    near = [row for row in rows if values[best.name] - values[row.name] <= MARGIN + 1e-9]
    if answers is not None:
        near = [row for row in near if row is best or answers.compare(best, row).p >= LEVEL]
    return by_cost(near, costs)


def _reversed(costs: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(-value for value in costs)


def by_cost(rows: Sequence[Row], costs: Mapping[str, tuple[float, ...]]) -> list[Row]:
    return sorted(rows, key=lambda row: (costs[row.name], row.name))


def taken_when_redrawn(rows: Sequence[Row], answers: Answers) -> NDArray[np.int64]:
    """Which of the rows, the cheapest first, the rule takes on resampled items and seeds; shape (draws,).

    The test of sameness is left out.
    """
    means = answers.redraw(rows)
    return (means >= means.max(0) - MARGIN - 1e-9).argmax(0)


def _shares(rows: Sequence[Row], costs: Mapping[str, tuple[float, ...]], answers: Answers) -> dict[str, float]:
    """Share of the draws in which each row is taken."""
    cheapest = by_cost(rows, costs)
    drawn = taken_when_redrawn(cheapest, answers)
    return {row.name: float((drawn == place).mean()) for place, row in enumerate(cheapest)}


def _rival(rows: Sequence[Row], taken: Row, shares: Mapping[str, float], answers: Answers) -> Rival | None:
    others = [row for row in rows if row is not taken and shares[row.name] >= LEVEL]
    if not others:
        return None
    rival = max(others, key=lambda row: shares[row.name])
    apart = answers.scores[taken.name].mean(0) - answers.scores[rival.name].mean(0)
    return Rival(rival, shares[rival.name], stats.items_needed(MARGIN, float(np.std(apart, ddof=1))))
