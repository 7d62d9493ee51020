"""Numbers as a reader sees them: three significant digits, one unit a column, the unit in the heading.

>>> short(0.04567), short(1234.5)
('0.0457', '1,234')
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.report.measures import Estimate

MISSING = "–"  # noqa: RUF001  (an en dash, so that an empty cell does not look like a minus sign)


def short(value: float | None) -> str:
    if value is None:
        return MISSING
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def count(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def with_interval(estimate: Estimate | None) -> str:
    """`0.81 (0.72 to 0.88)`"""
    if estimate is None:
        return MISSING
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


@dataclass(frozen=True)
class Unit:
    """What a raw number is divided by, and the name of the result."""

    name: str
    size: float

    def show(self, value: float | None) -> str:
        return MISSING if value is None else short(value / self.size)


def memory_unit(values: Iterable[float | None]) -> Unit:
    """MiB, or GiB where the column goes beyond 4 GiB."""
    largest = max((v for v in values if v is not None), default=0)
    return Unit("GiB", 2**30) if largest > 4 * 2**30 else Unit("MiB", 2**20)
