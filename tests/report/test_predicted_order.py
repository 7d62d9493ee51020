"""The order of methods that a data card predicts, held against the results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.text import MISSING
from tests.factories import (
    make_record,
    make_report,
    table_rows,
    with_training_rows,
)


def test_predictions_of_the_data_card_that_failed_are_listed(tmp_path: Path) -> None:
    values = {"full": 0.8, "lora": 0.9, "few_shot": 0.5, "zero_shot": 0.55, "prefix": 0.3, "instructed": 0.3}
    chains = ["full, lora > few_shot > zero_shot", "lora > prefix > zero_shot", "prefix >= instructed"]
    runs = [make_record(name, value, predicted=chains) for name, value in values.items()]
    page = make_report(tmp_path, *runs)
    assert "the data card orders: 8. In the point estimates 6 hold (5 with intervals apart), 0 are equal, 2 fai" in page
    failed = [row for name in ("few_shot", "prefix") for row in table_rows(page, name) if len(row) == 5]
    assert [(row[0], row[2], row[4]) for row in failed] == [
        ("few_shot", "zero_shot", "overlap"),
        ("prefix", "zero_shot", "apart"),
    ]
    level = [replace(run, predicted=["prefix > instructed"]) for run in runs]
    equal = make_report(tmp_path / "level", *level)
    assert "In the point estimates 0 hold (0 with intervals apart), 1 are equal, 0 failed." in equal


def test_predictions_compare_nothing_that_no_card_spoke_about(tmp_path: Path) -> None:
    chains = ["lora > few_shot"]
    asked_with_passages = make_record("lora", 0.2, predicted=chains, context="rag")
    assert "Predictions" not in make_report(tmp_path, asked_with_passages, make_record("few_shot", 0.5))
    sizes = [
        with_training_rows(rows, make_record("lora", 0.6, predicted=chains), make_record("few_shot", 0.5))
        for rows in (16, 32)
    ]
    assert "the data card orders: 2." in make_report(tmp_path / "sizes", *sizes[0], *sizes[1])
    seeds = [make_record("lora", 0.3, seed=seed, predicted=chains) for seed in (0, 1)]
    page = make_report(tmp_path / "seeds", *seeds, make_record("few_shot", 0.5))
    assert [row[4] for row in table_rows(page, "lora") if len(row) == 5] == [MISSING]
