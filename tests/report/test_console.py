"""The report in a terminal."""

from __future__ import annotations

from pathlib import Path

from harness.records.cohorts import gather
from harness.records.reading import load_records
from harness.report import console
from harness.report.comparisons import Comparisons
from tests.factories import (
    make_failed_record,
    make_quickstart,
    shuffled_scores,
    write_results,
    write_scored_runs,
)


def test_a_terminal_of_100_columns_holds_every_line(tmp_path: Path) -> None:
    long = make_failed_record("a_method_with_a_long_name", "oom", "out of memory " * 20, rank=128)
    write_scored_runs(tmp_path, [(one, shuffled_scores(i)) for i, one in enumerate(make_quickstart()) if one.quality])
    write_results(tmp_path / "more", long)
    (cohort,) = gather(load_records(str(tmp_path)))
    text = console.render(cohort, Comparisons.of(cohort))
    assert max(map(len, text.splitlines())) <= console.WIDTH
    assert "oom: RuntimeError: out of memory" in text
