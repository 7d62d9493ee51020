"""The report as a terminal shows it: one plain table a cohort, nothing that needs pandas or matplotlib."""

from __future__ import annotations

from harness.report import tables
from harness.report.cohorts import Cohort
from harness.report.escaping import plain


def title(cohort: Cohort) -> str:
    """`ticket_routing on smollm2-135m-q4 (cpu), accuracy on 120 test items`"""
    key = cohort.key
    where = f" ({key.device})" if key.device else ""
    asked = f"{cohort.metric} on {key.items:,} test items" if key.items else "no item answered"
    return f"{key.task} on {key.model}{where}, {asked}"


def render(cohorts: list[Cohort]) -> str:
    return "\n\n".join(f"{plain(title(cohort))}\n{tables.console(cohort).text()}" for cohort in cohorts)
