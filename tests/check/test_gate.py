"""The gate over tasks: how often it is right, and what it asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gate_power import CLAIMS, Claim, evidence
from harness import stats
from harness.check.gate import PASSES, Evidence, items_needed, judge, seeds_needed
from tests.commands import check_pair
from tests.factories import N_CHECKED, flip_scores, make_record, shuffled_scores, write_pair, write_run


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.about)
def test_the_gate_is_as_often_right_as_it_claims(claim: Claim) -> None:
    found = claim.simulated()
    assert claim.holds(found), f"simulated {found:.2%}, theory {claim.theory:.2%}"


@pytest.mark.parametrize(("better", "worse"), [(10, 10), (8, 12), (20, 30)])
def test_the_items_it_asks_for_let_an_equal_method_pass_four_times_in_five(better: int, worse: int) -> None:
    """Some items are known; the others are drawn of methods that do not differ."""
    known, discordance = 200, (better + worse) / 200
    needed = items_needed(evidence(better, worse, known))
    assert needed is not None
    new = np.random.default_rng(0).multinomial(
        needed - known, [discordance / 2, discordance / 2, 1 - discordance], size=1000
    )
    passed = [judge([evidence(better + int(b), worse + int(w), needed)]).verdict in PASSES for b, w, _ in new]
    assert sum(passed) / 1000 == pytest.approx(0.8, abs=0.05)
    assert seeds_needed(evidence(better, worse, known)) is None


def test_from_few_items_on_it_asks_for_what_the_usual_formula_does() -> None:
    few = evidence(5, 5, 50)
    assert items_needed(few) == pytest.approx(stats.items_needed(0.02, few.difference.sd), rel=0.01)


def test_one_task_that_fell_far_is_not_hidden_by_the_mean(tmp_path: Path) -> None:
    base = shuffled_scores(350, N_CHECKED)
    for i in range(8):
        write_run(tmp_path / "a", make_record("full", n=N_CHECKED, task=f"task{i}"), base)
        fell = flip_scores(base, 10, 80) if i == 3 else flip_scores(base, 30, 10)
        write_run(tmp_path / "b", make_record("lora", n=N_CHECKED, rank=8, task=f"task{i}"), fell)
    code, data = check_pair(tmp_path)
    assert data["pooled"]["verdict"] == "better"
    assert (code, data["verdict"]) == (1, "worse")
    assert [task["fallen"] for task in data["tasks"]] == [i == 3 for i in range(8)]
    reason = "task3 alone dropped by 14.0 points, more than the 5 allowed for one task"
    assert any(reason in said for said in data["reasons"])


def judge_counts(*counts: tuple[int, int], margin: float = 0.02) -> Any:
    return judge([replace(evidence(better, worse, 300), margin=margin) for better, worse in counts])


def test_a_fall_that_may_lie_within_the_margin_is_no_pass_and_not_worse() -> None:
    found = judge_counts((6, 25), *[(15, 10)] * 7)
    assert found.pooled.verdict() in PASSES
    assert (found.fallen[0], found.verdict) == (True, "inconclusive")
    assert judge_counts((10, 24), *[(15, 10)] * 7).verdict in PASSES, "4.7 points are no fall"
    assert judge_counts((18, 36), *[(15, 10)] * 7).verdict in PASSES, "6 points that eight looks may show by chance"
    assert judge_counts((6, 25), *[(15, 10)] * 7, margin=0.08).verdict in PASSES, "a margin of 8 points allows as much"


def test_a_small_drop_on_every_task_is_seen_and_said(tmp_path: Path) -> None:
    base = shuffled_scores(200, 300)
    for i in range(8):
        write_run(tmp_path / "a", make_record("full", n=300, task=f"task{i}"), base)
        write_run(tmp_path / "b", make_record("lora", n=300, rank=8, task=f"task{i}"), flip_scores(base, 12, 17, i))
    code, data = check_pair(tmp_path)
    assert code == 3
    assert data["pooled"]["drift"] == {"p": pytest.approx(0.005, abs=0.004), "found": True}
    assert min(task["p_corrected"] for task in data["tasks"]) > 0.5
    assert any("dropped by 1.7 points" in said and "no single task shows it" in said for said in data["reasons"])


def test_tasks_that_only_one_side_has_are_named(tmp_path: Path) -> None:
    write_pair(tmp_path, 6, 6)
    write_run(tmp_path / "a", make_record("full", n=N_CHECKED, task="squad"), shuffled_scores(300, N_CHECKED))
    code, data = check_pair(tmp_path)
    assert code == 0
    assert "Only --baseline has squad: not compared." in data["reasons"]


def test_evidence_that_is_barred_may_still_be_worse() -> None:
    worse = evidence(5, 45, 500)
    assert Evidence(worse.difference, 0.02, barred=True).verdict() == "worse"
    assert Evidence(evidence(45, 5, 500).difference, 0.02, barred=True).verdict() == "inconclusive"
