"""The report as a terminal shows it: one plain table a cohort, as many as one wants to see there."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report import tables
from harness.report.cohorts import Cohort
from harness.report.escaping import plain

MOST = 120  # lines


def title(cohort: Cohort) -> str:
    """`ticket_routing on smollm2-135m-q4 (cpu), accuracy on 120 test items`"""
    key = cohort.key
    where = f" ({key.device})" if key.device else ""
    asked = f"{cohort.metric} on {key.items:,} test items" if key.items else "no item answered"
    return f"{key.task} on {key.model}{where}, {asked}"


def render(cohort: Cohort) -> str:
    return f"{plain(title(cohort))}\n{tables.console(cohort).text()}"


def page(cohorts: Sequence[str]) -> str:
    """The tables one after the other, until they are too many lines; the first is shown whatever its length."""
    shown: list[str] = []
    lines = 0
    for text in cohorts:
        lines += text.count("\n") + 2
        if shown and lines > MOST:
            return "\n\n".join([*shown, f"and {len(cohorts) - len(shown)} more tables in the report"])
        shown.append(text)
    return "\n\n".join(shown)
