"""Time left in a sweep: from earlier runs of the same cells, scaled by the cells done so far.

Pace({("port_log", "lora"): 25.0}).left(plan, done)      # seconds
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from harness.errors import UserError
from harness.paths import DEMO_RESULTS
from harness.records.reading import load


class Planned(NamedTuple):
    """A cell that a sweep has, before its configuration is composed; "" where the command does not say."""

    task: str
    method: str


class Done(NamedTuple):
    """A cell that was run, and the seconds that took."""

    cell: Planned
    seconds: float


class Pace:
    """`expected`: seconds of a cell as another machine had them; only their proportions count once a cell is done."""

    def __init__(self, expected: Mapping[Planned, float]) -> None:
        self._expected = expected
        self._tasks, self._methods = {cell.task for cell in expected}, {cell.method for cell in expected}

    @classmethod
    def of_the_demo(cls) -> Pace:
        """Start from the times of the committed demo, if it is there."""
        try:
            stored = load(str(DEMO_RESULTS)).records
        except UserError:
            return cls({})
        return cls({Planned(r.record.task, r.record.method): r.record.environment.seconds or 0.0 for r in stored})

    def left(self, waiting: Sequence[Planned], done: Sequence[Done]) -> float | None:
        """Seconds that the waiting cells take; None if nothing is known of one of them."""
        known = [(one.seconds, self._expected[one.cell]) for one in done if one.cell in self._expected]
        pace = sum(took for took, _ in known) / sum(expected for _, expected in known) if known else 1.0
        each = [self._of(cell, done, pace) for cell in waiting]
        return None if None in each else sum(seconds for seconds in each if seconds is not None)

    def _of(self, cell: Planned, done: Sequence[Done], pace: float) -> float | None:
        if cell in self._expected:
            return pace * self._expected[cell]
        if self._tasks >= {cell.task} and self._methods >= {cell.method}:
            return 0.0  # the pair did not apply
        alike = [one.seconds for one in done if one.cell.method == cell.method] or [one.seconds for one in done]
        return fmean(alike) if alike else None
