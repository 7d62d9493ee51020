"""Runs of one method taken together: seeds, runs that failed, runs on other hardware."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.records import measures
from harness.records.cohorts import Row, gather
from harness.records.costs import training_seconds
from harness.records.reading import load_records
from harness.records.record import Retention, Retrieval
from harness.report import write_report
from harness.stats import interval_over_seeds
from tests.factories import (
    MIB,
    N_REPORTED,
    make_record,
    revise,
    shuffled_scores,
    write_results,
    write_scored_runs,
)


def quality_of(row: Row) -> float | None:
    quality = measures.quality(row.record)
    return quality and quality.value


def test_the_seeds_of_a_method_are_one_row_with_the_interval_of_items_and_seeds(tmp_path: Path) -> None:
    right = [60, 72, 84]
    runs = [
        (
            make_record("lora", count / N_REPORTED, count / N_REPORTED, memory=900 + 10 * seed, rank=8, seed=seed),
            shuffled_scores(count, seed=seed),
        )
        for seed, count in enumerate(right)
    ]
    (cohort,) = gather(load_records(str(write_scored_runs(tmp_path, runs))), [])
    (row,) = cohort.rows
    assert [run.record.seed for run in row.runs] == [0, 1, 2]
    quality = row.record.quality
    expected = interval_over_seeds([scores for _, scores in runs])
    assert expected is not None
    assert quality and (quality.value, quality.low, quality.high) == pytest.approx((0.6, expected.low, expected.high))
    alone = interval_over_seeds([runs[1][1]])
    assert alone is not None
    assert expected.high - expected.low > 1.5 * (alone.high - alone.low), "seeds vary more than items here"
    assert measures.training_memory(row.record) == 920 * MIB, "what a machine must have"


def test_a_seed_that_did_not_end_well_is_a_row_of_its_own_and_in_no_mean(tmp_path: Path) -> None:
    fine = [make_record("lora", 0.5, rank=8, seed=seed) for seed in (0, 1)]
    diverged = make_record("lora", 0.0, rank=8, seed=2, status="diverged")
    (cohort,) = gather(load_records(str(write_results(tmp_path, *fine, diverged))), [])
    assert [(row.name, len(row.runs)) for row in cohort.rows] == [("lora r8", 2), ("lora r8 (seed 2)", 1)]
    assert quality_of(cohort.rows[0]) == 0.5


def test_a_figure_is_taken_from_the_seeds_in_which_nothing_disturbed_it(tmp_path: Path) -> None:
    exact = make_record("lora", memory=900, rank=8, seed=0)
    disturbed = make_record("lora", memory=1500, rank=8, seed=1, contaminated={"memory": ["swapped"]})
    (cohort,) = gather(load_records(str(write_results(tmp_path, exact, disturbed))), [])
    (row,) = cohort.rows
    assert measures.training_memory(row.record) == 900 * MIB
    assert not row.record.contaminated


def test_of_seeds_made_on_other_hardware_only_the_quality_is_taken(tmp_path: Path) -> None:
    """Also where the first seed was disturbed: a mean over two processors is a figure of neither."""
    here = make_record("lora", 0.5, memory=900, rank=8, seconds=100, contaminated={"memory": ["swapped"]})
    there = make_record("lora", 0.7, memory=1500, rank=8, seconds=400, seed=1)
    there = revise(there, environment={"device": "CPU: another"}, retrieval={"index_seconds": 50.0})
    here = revise(here, retrieval={"index_seconds": 5.0})
    root = write_results(tmp_path, here, there)
    (cohort,) = gather(load_records(str(root)), [])
    (row,) = cohort.rows
    assert quality_of(row) == 0.6
    assert training_seconds(row.record) == 100 + 2 * 100
    assert row.record.retrieval == Retrieval(index_seconds=5.0)
    assert measures.training_memory(row.record) == 900 * MIB
    assert row.record.contaminated == {"memory": ["swapped"]}
    page = write_report(str(root), tmp_path / "report").page.read_text()
    assert "Some seeds were run on CPU: another: of those only the quality is used." in page


def test_a_rate_that_one_seed_chose_for_the_others_makes_no_other_method(tmp_path: Path) -> None:
    tuned, taken = (
        make_record("lora", rank=8, seed=seed, config={"training": {"learning_rate": rate}})
        for seed, rate in ((0, [2e-4, 1e-3, 4e-5]), (1, 2e-4))
    )
    taken = revise(taken, training={"tried": None})
    other = make_record("lora", rank=8, seed=2, config={"training": {"learning_rate": 5e-2}})
    other = revise(other, training={"tried": None, "learning_rate": 5e-2})
    (cohort,) = gather(load_records(str(write_results(tmp_path, tuned, taken, other))), [])
    assert sorted(len(row.runs) for row in cohort.rows) == [1, 2]


def test_a_run_that_was_started_again_takes_the_place_of_the_one_that_failed(tmp_path: Path) -> None:
    fine = [make_record("lora", 0.5, rank=8, seed=seed) for seed in (0, 1)]
    before = replace(make_record("lora", rank=8, seed=0, status="crashed"), run_id="before")
    (cohort,) = gather(load_records(str(write_results(tmp_path, *fine, before))), [])
    assert [(row.name, len(row.runs)) for row in cohort.rows] == [("lora r8", 2), ("lora r8 (seed 0, run before)", 1)]


def test_the_ends_of_an_interval_have_no_mean_over_seeds(tmp_path: Path) -> None:
    kept = {"change": -0.02, "low": -0.04, "high": 0.0, "n": 60}
    runs = [make_record("lora", 0.5, rank=8, seed=seed, retention=kept) for seed in (0, 1)]
    (cohort,) = gather(load_records(str(write_results(tmp_path, *runs))), [])
    assert cohort.rows[0].record.retention == Retention(change=-0.02, n=60)


def test_what_one_seed_measured_for_all_is_no_third_of_it(tmp_path: Path) -> None:
    """One seed tries the rates and asks single requests, the others take its choice and are asked for quality alone."""
    runs = [make_record("lora", 0.5, rank=8, seed=seed) for seed in range(3)]
    runs = [
        revise(
            run,
            training={"tuning_seconds": spent},
            seconds={"training": 60.0 + spent, "latency": spent or 2e-5},
        )
        for run, spent in zip(runs, (120.0, 0.0, 0.0), strict=True)
    ]
    (cohort,) = gather(load_records(str(write_results(tmp_path, *runs))), [])
    together = cohort.rows[0].record
    assert together.training and together.training.tuning_seconds == 120
    assert together.seconds == {"training": 100.0, "latency": 120.0}
