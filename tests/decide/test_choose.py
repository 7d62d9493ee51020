"""What is recommended for a task, and how sure that is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from harness import stats
from harness.decide.resampling import redraw, validation_scores
from harness.records.reading import VALIDATION_FILE, load_records
from harness.report import write_report
from tests.commands import decide_one, run_decide
from tests.factories import (
    make_record,
    revise,
    right_then_wrong,
    shuffled_scores,
    write_answered_runs,
    write_behaviour_task,
    write_knowledge_task,
)


def test_the_cheapest_that_is_as_good_as_the_best_is_recommended(tmp_path: Path) -> None:
    found = decide_one(write_behaviour_task(tmp_path)).strategy
    assert (found.row.name, found.best.name, found.runner_up.name) == ("lora r8", "full", "full")
    assert 0.01 <= found.could_lose <= 0.06


def test_a_cheaper_one_that_is_further_away_is_not_taken_for_the_same_though_few_items_cannot_tell(
    tmp_path: Path,
) -> None:
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


@pytest.mark.parametrize(("items", "least", "most"), [(400, 0.9, 1.0), (30, 0.2, 0.85)])
def test_how_sure_it_is_follows_the_number_of_items(tmp_path: Path, items: int, least: float, most: float) -> None:
    runs = [
        (make_record("zero_shot"), right_then_wrong(20), shuffled_scores(round(0.4 * items), items)),
        (make_record("full", memory=2600), right_then_wrong(80), shuffled_scores(round(0.5 * items), items, 1)),
    ]
    assert least <= decide_one(write_answered_runs(tmp_path, runs)).strategy.probability <= most


def test_the_data_of_a_decision(tmp_path: Path) -> None:
    done = run_decide(write_knowledge_task(tmp_path), "--json")
    (task,) = json.loads(done.output)["tasks"]
    assert done.exit_code == 0
    assert (task["task"], task["recommendation"], task["runner_up"]) == ("ticket_routing", "rag_lora r8", "rag")
    assert task["cause"] == "knowledge"
    assert all(isinstance(line, str) for line in task["why"])
    assert (task["could_lose"], task["shares"]["knowledge"]["by"]) == (0.0, "rag_lora r8")
    assert task["run_ids"]
    assert (task["best"], task["alike"], task["errors"]) == ("rag_lora r8", ["rag_lora r8"], 95)
    assert task["costs"]["rag"]["request_seconds"] == pytest.approx(0.42 * 1.1)
    assert task["shares"]["knowledge"]["examples"][0] == "test-010"
    assert {"what", "better", "worse", "value", "low", "high"} == task["effects"][0].keys()


def test_the_page_shows_what_names_say_as_text(tmp_path: Path) -> None:
    runs = [(make_record("zero_shot", task="<script>alert(1)</script>"), right_then_wrong(20), right_then_wrong(20))]
    page = tmp_path / "page.md"
    run_decide(write_answered_runs(tmp_path / "results", runs), "--markdown", str(page))
    assert "<script>" not in page.read_text()
    assert "zero_shot" in page.read_text()


def test_items_of_one_cluster_are_drawn_together(tmp_path: Path) -> None:
    """Full is right where zero-shot is wrong, by whole templates: 200 items tell them apart, four templates do not."""
    runs = [
        (
            make_record("zero_shot", memory=400),
            right_then_wrong(20),
            [1 - score for score in right_then_wrong(110, 200)],
        ),
        (make_record("full", memory=2600), right_then_wrong(80), right_then_wrong(110, 200)),
    ]
    root = write_answered_runs(tmp_path, runs)
    assert decide_one(root).strategy.probability > 0.8
    for run in load_records(root):
        lines = [replace(line, cluster=f"c{i // 50}") for i, line in enumerate(run.predictions("validation"))]
        (run.folder / VALIDATION_FILE).write_text("".join(line.to_json() + "\n" for line in lines))
    assert 0.4 < decide_one(root).strategy.probability < 0.7


def test_seeds_are_drawn_too(tmp_path: Path) -> None:
    """Full wins on the mean of two seeds of which one is bad: on half of the draws of one seed twice it would not."""
    runs = [(make_record("zero_shot", memory=400), right_then_wrong(50), right_then_wrong(100, 200))]
    runs += [
        (make_record("full", memory=2600, seed=seed), right_then_wrong(80), right_then_wrong(right_ones, 200))
        for seed, right_ones in enumerate((60, 160))
    ]
    assert 0.6 < decide_one(write_answered_runs(tmp_path, runs)).strategy.probability < 0.78


def test_a_decision_as_a_page_for_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "deep" / "page.html"
    run_decide(write_behaviour_task(tmp_path / "results"), "--html", str(page))
    assert page.read_text().startswith("<!doctype html>")
    assert "lora r8" in page.read_text()


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


def test_in_the_draws_two_methods_are_told_apart_as_over_all_items(tmp_path: Path) -> None:
    runs = [
        (make_record("zero_shot"), right_then_wrong(50), shuffled_scores(round(0.5 * 90), 90)),
        (make_record("few_shot"), right_then_wrong(50), shuffled_scores(round(0.55 * 90), 90, 7)),
        *(
            (make_record("full", seed=seed), right_then_wrong(80), shuffled_scores(round(0.6 * 90), 90, seed + 1))
            for seed in range(3)
        ),
    ]
    rows = {row.name: row for row in decide_one(write_answered_runs(tmp_path, runs)).cohort.rows}
    matrix = validation_scores(list(rows.values()))
    assert matrix is not None
    zero, few, full = ("zero_shot", "few_shot", "full")
    draws = redraw(matrix, [zero, few, full], 5)
    for draw in range(5):  # one checkpoint each: exact McNemar over the items drawn
        drawn = [np.repeat(matrix.scores[name][0], draws.weights[draw].astype(int)) for name in (zero, few)]
        assert draws.p(zero, few)[draw] == pytest.approx(stats.compare(drawn[0].tolist(), drawn[1].tolist()).p)
    found = matrix.compare(full, zero)  # with seeds: t with the error and the freedom of all items and seeds
    expected = 2 * special.stdtr(found.freedom, -abs(draws.means[2] - draws.means[0]) / found.error)
    assert draws.p(full, zero) == pytest.approx(expected)


def test_a_run_on_a_few_items_does_not_take_the_others_from_the_rest(tmp_path: Path) -> None:
    runs = [
        (make_record("zero_shot", memory=400), right_then_wrong(50), right_then_wrong(250, 500)),
        (make_record("full", memory=2600), right_then_wrong(50), right_then_wrong(300, 500)),
        (make_record("prefix", memory=900), right_then_wrong(50), right_then_wrong(12, 20)),
    ]
    rows = decide_one(write_answered_runs(tmp_path, runs)).cohort.rows
    matrix = validation_scores(rows)
    assert matrix is not None
    assert (set(matrix.scores), len(matrix.ids)) == ({"zero_shot", "full"}, 500)


def test_a_method_without_answers_is_chosen_by_its_mean_and_the_others_stay_known(tmp_path: Path) -> None:
    root = write_behaviour_task(tmp_path)
    for run in load_records(root):
        if run.record.method == "prefix":
            (run.folder / VALIDATION_FILE).unlink()
    found = decide_one(root).strategy
    assert (found.row.name, found.probability is not None) == ("lora r8", True)


def test_what_is_not_considered_is_said_with_its_reason(tmp_path: Path) -> None:
    root = write_behaviour_task(tmp_path)
    for run in load_records(root):
        if run.record.method == "prefix":
            (run.folder / "record.json").write_text(replace(run.record, status="oom").to_json())
        if run.record.method == "rag":
            (run.folder / "record.json").write_text(replace(run.record, validation=None).to_json())
    done = run_decide(root).output
    assert "prefix is not considered: its run is oom" in done
    assert "rag is not considered: it has no validation value" in done


def test_what_is_known_less_well_than_it_looks_is_said(tmp_path: Path) -> None:
    untuned = make_record("lora", rank=8, contaminated={"memory": ["the machine was swapping"]})
    untuned = revise(untuned, training={"tried": None})
    write_answered_runs(tmp_path / "a", [(untuned, right_then_wrong(80), right_then_wrong(80))])
    write_answered_runs(
        tmp_path / "b", [(make_record("zero_shot", n=50), right_then_wrong(20, 50), right_then_wrong(20, 50))]
    )
    done = run_decide(str(tmp_path)).output
    assert "its learning rate was not tuned" in done
    assert "its memory figure is contaminated: the machine was swapping" in done
    assert "1 other set of runs of this task" in done
    assert "method=zero_shot, the reference for the cause of errors" in done
