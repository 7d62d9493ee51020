"""What is recommended for a task."""

from __future__ import annotations

from pathlib import Path

from harness.records.reading import VALIDATION_FILE, load_records
from harness.report import write_report
from tests.commands import decide_one, run_decide
from tests.factories import (
    make_record,
    right_then_wrong,
    write_answered_runs,
    write_behaviour_task,
)


def test_the_cheapest_that_is_as_good_as_the_best_is_recommended(tmp_path: Path) -> None:
    found = decide_one(write_behaviour_task(tmp_path)).strategy
    assert (found.row.name, found.best.name, found.runner_up.name) == ("lora r8", "full", "full")
    assert 0.01 <= found.could_lose <= 0.06


def test_a_cheaper_one_further_away_is_not_as_good_though_few_items_cannot_tell(tmp_path: Path) -> None:
    runs = [
        (make_record("full", memory=2600), right_then_wrong(50), right_then_wrong(17, 30)),
        (make_record("lora", memory=900, rank=8), right_then_wrong(50), right_then_wrong(15, 30)),
    ]
    assert decide_one(write_answered_runs(tmp_path, runs)).strategy.row.name == "full"


def test_the_choice_is_made_on_validation_and_not_on_test(tmp_path: Path) -> None:
    runs = [
        (make_record("full", memory=2600), right_then_wrong(50), right_then_wrong(90)),
        (make_record("lora", memory=900, rank=8), right_then_wrong(95), right_then_wrong(60)),
    ]
    assert decide_one(write_answered_runs(tmp_path, runs)).strategy.row.name == "full"


def test_the_gold_passage_is_never_recommended(tmp_path: Path) -> None:
    runs = [
        (make_record("zero_shot"), right_then_wrong(10), right_then_wrong(10)),
        (make_record("oracle"), right_then_wrong(90), right_then_wrong(90)),
    ]
    assert decide_one(write_answered_runs(tmp_path, runs)).strategy.row.name == "zero_shot"


def test_where_all_tie_the_cheapest_is_taken_and_it_is_said(tmp_path: Path) -> None:
    methods = (("zero_shot", 400), ("full", 2600))
    runs = [
        (make_record(method, memory=memory), right_then_wrong(50), right_then_wrong(50)) for method, memory in methods
    ]
    done = run_decide(write_answered_runs(tmp_path, runs))
    assert "recommended   zero_shot" in done.output
    assert "the cheapest of the methods that are within 2 points of the best on validation" in done.output
    assert "not significantly different from it; the others: full" in done.output


def test_a_report_opens_with_the_recommendation(tmp_path: Path) -> None:
    write_report(write_behaviour_task(tmp_path / "results"), tmp_path / "report")
    page = (tmp_path / "report" / "report.md").read_text()
    assert "lora r8 is the cheapest of 2 as good as the best on validation (accuracy 0.790, 100 items)" in page
    assert "; full has 0.800 there; on the test split it reaches 0.79" in page


def test_what_is_near_and_told_apart_is_neither_taken_nor_drawn(tmp_path: Path) -> None:
    """Fifteen items in a thousand, all one way: within 2 points, and yet no accident."""
    runs = [
        (make_record("zero_shot", memory=400), right_then_wrong(50), right_then_wrong(500, 1000)),
        (make_record("full", memory=2600), right_then_wrong(50), right_then_wrong(515, 1000)),
    ]
    root = write_answered_runs(tmp_path, runs)
    found = decide_one(root).strategy
    assert (found.row.name, [row.name for row in found.within_margin]) == ("full", ["zero_shot"])
    assert found.probability > 0.95
    assert (
        "within 2 points of full but significantly worse item by item (paired, 5 %): zero_shot"
        in run_decide(root).output
    )


def test_a_method_without_answers_is_chosen_by_its_mean_and_the_others_stay_known(tmp_path: Path) -> None:
    root = write_behaviour_task(tmp_path)
    for run in load_records(root):
        if run.record.method == "prefix":
            (run.folder / VALIDATION_FILE).unlink()
    found = decide_one(root).strategy
    assert (found.row.name, found.probability is not None) == ("lora r8", True)
