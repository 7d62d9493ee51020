"""What a newcomer reads under a table: claimed where the pairs show it, and in a terminal of 100 columns."""

from __future__ import annotations

from pathlib import Path

from harness.records.cohorts import gather
from harness.records.reading import load_records
from harness.records.record import Record
from harness.report.comparisons import Comparisons
from harness.report.finding import finding
from tests.factories import (
    N_REPORTED,
    make_quickstart,
    make_record,
    shuffled_scores,
    write_results,
    write_scored_runs,
)


def finding_on(root: Path, *runs: tuple[Record, int]) -> str:
    """The finding on runs with so many right answers each."""
    write_scored_runs(root, [(run, shuffled_scores(right, seed=seed)) for seed, (run, right) in enumerate(runs)])
    (cohort,) = gather(load_records(str(root)))
    return finding(cohort, Comparisons.of(cohort))


def scored_run(method: str, right: int, chosen: float | None = None, rank: int | None = None) -> tuple[Record, int]:
    share = right / N_REPORTED
    return make_record(method, share, share if chosen is None else chosen, memory=1024, rank=rank, seconds=23), right


def test_passages_that_help_and_training_that_does_not(tmp_path: Path) -> None:
    runs = (
        scored_run("zero_shot", 34),
        scored_run("few_shot", 36),
        scored_run("rag", 84),
        scored_run("lora", 36, rank=8),
        scored_run("rag_lora", 108, rank=8),
    )
    assert finding_on(tmp_path, *runs) == (
        "On ticket_routing passages lift accuracy from 0.28 (zero_shot) to 0.70 (rag); training without passages does "
        "not (lora r8 0.30). Both together reach 0.90 (rag_lora r8), for 23 s of training and 1.0 GiB of memory."
    )


def test_passages_that_change_nothing_are_not_said_to_help(tmp_path: Path) -> None:
    assert "passages do not measurably lift accuracy: 0.28 (zero_shot) to 0.29 (rag)" in finding_on(
        tmp_path, scored_run("zero_shot", 34), scored_run("rag", 35)
    )


def test_the_best_prompt_and_the_best_training_are_those_of_validation(tmp_path: Path) -> None:
    runs = (
        scored_run("zero_shot", 12),
        scored_run("few_shot", 34),
        scored_run("full", 110, 0.7),
        scored_run("lora", 100, 0.9, rank=8),
    )
    assert finding_on(tmp_path, *runs) == (
        "On ticket_routing lora r8, chosen on validation, reaches 0.83 (accuracy) where the best prompt, few_shot, "
        "has 0.28, for 23 s of training and 1.0 GiB of memory."
    )


def test_what_cannot_be_distinguished_and_a_prompt_that_wins(tmp_path: Path) -> None:
    equal = finding_on(tmp_path / "equal", scored_run("few_shot", 60), scored_run("lora", 62, rank=8))
    assert "few_shot 0.50) and training (lora r8 0.52) are not distinguishable on 120 items" in equal
    prompted = finding_on(tmp_path / "prompted", scored_run("few_shot", 100), scored_run("lora", 62, rank=8))
    assert "the best prompt (few_shot 0.83) beats the best training (lora r8 0.52)" in prompted


def test_without_answers_item_by_item_nothing_is_claimed(tmp_path: Path) -> None:
    write_results(tmp_path, *make_quickstart())
    (cohort,) = gather(load_records(str(tmp_path)))
    assert finding(cohort, Comparisons.of(cohort)) == ""
