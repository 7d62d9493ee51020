"""records.csv: a row a record, and no cell runs as a formula."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.factories import (
    make_failed_record,
    make_quickstart,
    make_record,
    make_report,
    revise,
)


def test_a_cell_of_the_spreadsheet_never_runs_as_a_formula(tmp_path: Path) -> None:
    starts = ("=cmd()", "+1", "-1+1", "@SUM(A1)", "\t=1")
    make_report(
        tmp_path,
        make_record("zero_shot"),
        *(make_failed_record("full", "failed", said, rank=i) for i, said in enumerate(starts)),
    )
    with (tmp_path / "report" / "records.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    said = [row["error.message"] for row in rows if row["status"] == "failed"]
    assert sorted(said) == sorted(f"'{start}" for start in starts)
    assert all(value[:1] not in ("=", "+", "@", "\t") for row in rows for value in row.values())


def test_the_spreadsheet_has_a_row_a_record_with_plain_numbers_and_without_configuration(
    tmp_path: Path,
) -> None:
    records = [revise(r, retention={"metric": "accuracy", "change": -0.02}) for r in make_quickstart()]
    make_report(tmp_path, *records)
    with (tmp_path / "report" / "records.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records)
    assert float(rows[0]["retention.change"]) == -0.02
    assert not [name for name in rows[0] if name.startswith("config") or "traceback" in name]


def test_every_cell_of_the_spreadsheet_stands_under_its_own_name(tmp_path: Path) -> None:
    hostile = 'a "quoted", one\r\nof two lines'
    make_report(
        tmp_path,
        make_record("lora", rank=8, task="first"),
        make_record(
            "zero_shot", task="second", environment={"device": "cpu", "packages": {"note": hostile, "empty": "NA"}}
        ),
    )
    with (tmp_path / "report" / "records.csv").open(encoding="utf-8", newline="") as file:
        trained, asked = csv.DictReader(file)
    assert (trained["task"], trained["rank"], trained["environment.packages.note"]) == ("first", "8", "")
    assert float(trained["training.seconds"]) > 0
    assert (asked["task"], asked["rank"], asked["training.seconds"]) == ("second", "", "")
    assert (asked["environment.packages.note"].split('"')[1], asked["environment.packages.empty"]) == ("quoted", "NA")
    assert trained["folder"].endswith(trained["run_id"]) and asked["folder"].endswith(asked["run_id"])
