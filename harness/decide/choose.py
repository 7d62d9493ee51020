"""The recommendation: the cheapest method within the limits that comes as close to the best as makes no difference.

Chosen on validation alone; the test split says what the choice is worth. As close as makes no difference: at most
MARGIN under the best on validation, and not to be told apart from it over the validation items. So a noisy table's top
does not win by luck, and of methods that tie the cheapest is taken. How sure that is: the share of resampled sets of
validation items on which the same rule takes the same method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.decide.limits import Limits, learned_facts, request_seconds
from harness.records import Record, StoredRecord
from harness.report import measures
from harness.report.choice import NOT_CHOSEN
from harness.report.cohorts import Cohort, Row
from harness.report.cost import set_up_seconds

MARGIN = 0.02
LEVEL = 0.05
DRAWS = 2000
Floats = NDArray[np.float64]


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


@dataclass(frozen=True)
class Excluded:
    row: Row
    why: tuple[str, ...]


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
    scores = _scores(rows)
    alike = _alike(rows, values, costs, scores)
    taken, best = alike[0], max(rows, key=lambda row: (values[row.name], _reversed(costs[row.name])))
    others = sorted((row for row in rows if row is not taken), key=lambda row: (-values[row.name], costs[row.name]))
    loses = None
    if scores is not None:
        found = stats.compare(scores[best.name].tolist(), scores[taken.name].tolist())
        loses = max(0.0, found.high)
    return Strategy(
        taken, best, others[0] if others else None, tuple(alike), loses, _probability(rows, taken, costs, scores)
    )


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
    rows: Sequence[Row], values: Mapping[str, float], costs: Mapping[str, tuple[float, ...]], scores: Any
) -> list[Row]:
    """Rows as good as the best, the cheapest first."""
    best = max(rows, key=lambda row: (values[row.name], _reversed(costs[row.name])))
    near = [row for row in rows if values[best.name] - values[row.name] <= MARGIN + 1e-9]
    if scores is not None:
        near = [row for row in near if row is best or _same(scores[best.name], scores[row.name])]
    return sorted(near, key=lambda row: (costs[row.name], row.name))


def _same(best: Floats, other: Floats) -> bool:
    return stats.compare(best.tolist(), other.tolist()).p >= LEVEL


def _reversed(costs: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(-value for value in costs)


def _scores(rows: Sequence[Row]) -> dict[str, Floats] | None:
    """Each row's validation scores over the items that all have, its seeds averaged; None where one has kept none."""
    found = {row.name: [_by_item(run) for run in row.runs] for row in rows}
    every = [scores for runs in found.values() for scores in runs]
    shared = sorted(set.intersection(*map(set, every))) if every else []
    if len(shared) < 2:
        return None
    return {name: np.array([[run[item] for item in shared] for run in runs]).mean(0) for name, runs in found.items()}


def _by_item(run: StoredRecord) -> dict[str, float]:
    return {str(line["id"]): line["score"] for line in run.validated() if line.get("score") is not None}


def _probability(
    rows: Sequence[Row], taken: Row, costs: Mapping[str, tuple[float, ...]], scores: dict[str, Floats] | None
) -> float | None:
    """Share of resampled validation sets on which the same row is taken; the test of sameness is left out of it."""
    if scores is None:
        return None
    cheapest = sorted(rows, key=lambda row: (costs[row.name], row.name))
    matrix = np.array([scores[row.name] for row in cheapest])
    items = np.random.default_rng(0).integers(0, matrix.shape[1], (DRAWS, matrix.shape[1]))
    means = matrix[:, items].mean(-1)
    near = means >= means.max(0) - MARGIN - 1e-9
    return float((near.argmax(0) == cheapest.index(taken)).mean())
