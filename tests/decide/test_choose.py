"""What is recommended for a task, and how sure that is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from harness import stats
from harness.decide.resampling import Answers
from harness.records.reading import VALIDATION_FILE, load_records
from harness.report import write_report
from tests.deciding import answered, behaviour, first, knowledge, only, right, said
from tests.invented import record, revised


def test_the_cheapest_that_is_as_good_as_the_best_is_recommended(tmp_path: Path) -> None:
    found = only(behaviour(tmp_path)).strategy
    assert (found.row.name, found.best.name, found.runner_up.name) == ("lora r8", "full", "full")
    assert 0.01 <= found.could_lose <= 0.06


def test_a_cheaper_one_that_is_further_away_is_not_taken_for_the_same_though_few_items_cannot_tell(
    tmp_path: Path,
) -> None:
    runs = [
        (record("full", memory=2600), first(50), first(17, 30)),
        (record("lora", memory=900, rank=8), first(50), first(15, 30)),
    ]
    assert only(answered(tmp_path, runs)).strategy.row.name == "full"


def test_the_choice_is_made_on_validation_and_not_on_test(tmp_path: Path) -> None:
    runs = [
        (record("full", memory=2600), first(50), first(90)),
        (record("lora", memory=900, rank=8), first(95), first(60)),
    ]
    assert only(answered(tmp_path, runs)).strategy.row.name == "full"


def test_the_gold_passage_is_never_recommended(tmp_path: Path) -> None:
    runs = [(record("zero_shot"), first(10), first(10)), (record("oracle"), first(90), first(90))]
    assert only(answered(tmp_path, runs)).strategy.row.name == "zero_shot"


def test_where_all_tie_the_cheapest_is_taken_and_it_is_said(tmp_path: Path) -> None:
    methods = (("zero_shot", 400), ("full", 2600))
    runs = [(record(method, memory=memory), first(50), first(50)) for method, memory in methods]
    done = said(answered(tmp_path, runs))
    assert "recommended   zero_shot" in done.output
    assert "the cheapest of those within 2 points of the best on validation and not told from it: full" in done.output


@pytest.mark.parametrize(("items", "least", "most"), [(400, 0.9, 1.0), (30, 0.2, 0.85)])
def test_how_sure_it_is_follows_the_number_of_items(tmp_path: Path, items: int, least: float, most: float) -> None:
    runs = [
        (record("zero_shot"), first(20), right(0.4, items)),
        (record("full", memory=2600), first(80), right(0.5, items, 1)),
    ]
    assert least <= only(answered(tmp_path, runs)).strategy.probability <= most


def test_the_data_of_a_decision(tmp_path: Path) -> None:
    done = said(knowledge(tmp_path), "--json")
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
    runs = [(record("zero_shot", task="<script>alert(1)</script>"), first(20), first(20))]
    page = tmp_path / "page.md"
    said(answered(tmp_path / "results", runs), "--markdown", str(page))
    assert "<script>" not in page.read_text()
    assert "zero_shot" in page.read_text()


def test_items_of_one_cluster_are_drawn_together(tmp_path: Path) -> None:
    """Full is right where zero-shot is wrong, by whole templates: 200 items tell them apart, four templates do not."""
    runs = [
        (record("zero_shot", memory=400), first(20), [1 - score for score in first(110, 200)]),
        (record("full", memory=2600), first(80), first(110, 200)),
    ]
    root = answered(tmp_path, runs)
    assert only(root).strategy.probability > 0.8
    for run in load_records(root):
        lines = [{**line, "cluster": f"c{i // 50}"} for i, line in enumerate(run.validated())]
        (run.folder / VALIDATION_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert 0.4 < only(root).strategy.probability < 0.7


def test_seeds_are_drawn_too(tmp_path: Path) -> None:
    """Full wins on the mean of two seeds of which one is bad: on half of the draws of one seed twice it would not."""
    runs = [(record("zero_shot", memory=400), first(50), first(100, 200))]
    runs += [
        (record("full", memory=2600, seed=seed), first(80), first(right_ones, 200))
        for seed, right_ones in enumerate((60, 160))
    ]
    assert 0.6 < only(answered(tmp_path, runs)).strategy.probability < 0.78


def test_a_decision_as_a_page_for_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "deep" / "page.html"
    said(behaviour(tmp_path / "results"), "--html", str(page))
    assert page.read_text().startswith("<!doctype html>")
    assert "lora r8" in page.read_text()


def test_a_report_opens_with_the_recommendation(tmp_path: Path) -> None:
    write_report(behaviour(tmp_path / "results"), tmp_path / "report")
    page = (tmp_path / "report" / "report.md").read_text()
    assert "lora r8 is the cheapest of 2 as good as the best on validation (accuracy 0.790, 100 items)" in page
    assert "; full has 0.800 there; on the test split it reaches 0.79" in page


def test_what_is_near_and_told_apart_is_neither_taken_nor_drawn(tmp_path: Path) -> None:
    """Fifteen items in a thousand, all one way: within 2 points, and yet no accident."""
    runs = [
        (record("zero_shot", memory=400), first(50), first(500, 1000)),
        (record("full", memory=2600), first(50), first(515, 1000)),
    ]
    root = answered(tmp_path, runs)
    found = only(root).strategy
    assert (found.row.name, [row.name for row in found.near]) == ("full", ["zero_shot"])
    assert found.probability > 0.95
    assert "within 2 points of full and yet worse item by item (paired, 5 %): zero_shot" in said(root).output


def test_in_the_draws_two_methods_are_told_apart_as_over_all_items(tmp_path: Path) -> None:
    runs = [
        (record("zero_shot"), first(50), right(0.5, 90)),
        (record("few_shot"), first(50), right(0.55, 90, 7)),
        *((record("full", seed=seed), first(80), right(0.6, 90, seed + 1)) for seed in range(3)),
    ]
    rows = {row.name: row for row in only(answered(tmp_path, runs)).cohort.rows}
    answers = Answers.of(list(rows.values()))
    assert answers is not None
    zero, few, full = (rows[name] for name in ("zero_shot", "few_shot", "full"))
    draws = answers.redraw([zero, few, full], 5)
    for draw in range(5):  # one checkpoint each: exact McNemar over the items drawn
        drawn = [np.repeat(answers.scores[row.name][0], draws.weights[draw].astype(int)) for row in (zero, few)]
        assert draws.p(zero, few)[draw] == pytest.approx(stats.compare(drawn[0].tolist(), drawn[1].tolist()).p)
    found = answers.compare(full, zero)  # with seeds: t with the error and the freedom of all items and seeds
    expected = 2 * special.stdtr(found.freedom, -abs(draws.means[2] - draws.means[0]) / found.error)
    assert draws.p(full, zero) == pytest.approx(expected)


def test_a_run_on_a_few_items_does_not_take_the_others_from_the_rest(tmp_path: Path) -> None:
    runs = [
        (record("zero_shot", memory=400), first(50), first(250, 500)),
        (record("full", memory=2600), first(50), first(300, 500)),
        (record("prefix", memory=900), first(50), first(12, 20)),
    ]
    rows = only(answered(tmp_path, runs)).cohort.rows
    answers = Answers.of(rows)
    assert answers is not None
    assert (set(answers.scores), len(answers.clusters)) == ({"zero_shot", "full"}, 500)


def test_a_method_without_answers_is_chosen_by_its_mean_and_the_others_stay_known(tmp_path: Path) -> None:
    root = behaviour(tmp_path)
    for run in load_records(root):
        if run.record.method == "prefix":
            (run.folder / VALIDATION_FILE).unlink()
    found = only(root).strategy
    assert (found.row.name, found.probability is not None) == ("lora r8", True)


def test_what_is_not_considered_is_said_with_its_reason(tmp_path: Path) -> None:
    root = behaviour(tmp_path)
    for run in load_records(root):
        if run.record.method == "prefix":
            (run.folder / "record.json").write_text(replace(run.record, status="oom").to_json())
        if run.record.method == "rag":
            (run.folder / "record.json").write_text(replace(run.record, validation=None).to_json())
    done = said(root).output
    assert "prefix is not considered: its run is oom" in done
    assert "rag is not considered: it has no validation value" in done


def test_what_is_known_less_well_than_it_looks_is_said(tmp_path: Path) -> None:
    untuned = record("lora", rank=8, contaminated={"memory": ["the machine was swapping"]})
    untuned = revised(untuned, training={"tried": None})
    answered(tmp_path / "a", [(untuned, first(80), first(80))])
    answered(tmp_path / "b", [(record("zero_shot", n=50), first(20, 50), first(20, 50))])
    done = said(str(tmp_path)).output
    assert "its learning rate was not tuned" in done
    assert "its memory was disturbed: the machine was swapping" in done
    assert "1 other set of runs of this task" in done
    assert "method=zero_shot, which every cause is measured from" in done
