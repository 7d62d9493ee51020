"""The report on a terminal: a table and its finding for each cohort, as many as fit."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from harness.catalogue import task_field
from harness.records import measures
from harness.records.cohorts import Cohort
from harness.report import tables
from harness.report.comparisons import Comparisons
from harness.report.finding import finding
from harness.text import plain

MOST = 120  # lines
WIDTH = 100  # columns
LEGEND = "memory: the peak; latency: the median of one request; in brackets: what needs no language model."


def title(cohort: Cohort) -> str:
    """`ticket_routing: accuracy on 120 test items, 95 % intervals; smollm2-135m-q4 on cpu, float32`"""
    key = cohort.key
    device = f" on {key.device}" if key.device else ""
    precisions = Counter(measures.precision(record.config) for record in cohort.records)
    common = precisions.most_common(1)[0][0] if precisions else None
    device += f", {common}" if common else ""
    measured = f"{cohort.metric} on {key.items:,} test items, 95 % intervals" if key.items else "no item answered"
    return f"{key.task}: {measured}; {key.model}{device}"


def render(cohort: Cohort, comparisons: Comparisons) -> str:
    """Title, what the task asks, table, what ended runs that are not ok, finding."""
    ended = [f"{row.name} {tables.quality_or_status(row.record)}" for row in cohort.rows if row.record.status != "ok"]
    conclusion = finding(cohort, comparisons)
    about = task_field(cohort.key.task, "about")
    lines = [
        plain(title(cohort), WIDTH),
        *([fill(plain(about, 300), WIDTH)] if about else []),
        tables.console(cohort).text(),
        *(plain(line, WIDTH) for line in ended),
    ]
    return "\n".join([*lines, *([fill(conclusion, WIDTH)] if conclusion else [])])


def page(cohorts: Sequence[str]) -> str:
    """The tables one after the other, until they are too many lines; the first is shown whatever its length."""
    shown: list[str] = []
    lines = 0
    for text in cohorts:
        lines += text.count("\n") + 2
        if shown and lines > MOST:
            shown.append(f"and {len(cohorts) - len(shown)} more tables in the report")
            break
        shown.append(text)
    return "\n\n".join([*shown, LEGEND])


def next_steps(results: str, page: Path) -> str:
    """The report's path, and commands to try next."""
    harness = "harness" if shutil.which("harness") else _typed(Path(sys.argv[0]))
    lines = [
        ("The whole report:", str(page.with_name("report.html"))),
        ("Which method within my limits?", f"{harness} decide {results} --max-memory 1GB"),
        ("My own rows and documents:", f"{harness} run -m task=folder task.path=DIR method=zero_shot,rag,lora"),
        ("What goes into DIR?", "docs/tasks-and-methods.md"),
        ("What else is there?", f"{harness} list"),
    ]
    width = max(len(question) for question, _ in lines)
    return "\n".join(f"{question:{width}}  {answer}" for question, answer in lines)


def _typed(command: Path) -> str:
    """The command as it can be typed from here."""
    return str(command.relative_to(Path.cwd())) if command.is_relative_to(Path.cwd()) else str(command)
