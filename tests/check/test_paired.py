"""Items of one template, and training seeds: what they do to a difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import stats
from harness.check.gate import judge, pool
from harness.check.paired import Paired, weigh
from harness.tasks.metrics import HIGHER_IS_BETTER
from harness.tasks.task_yaml import BY_KIND
from tests.commands import check_pair, run_check
from tests.factories import (
    N_CHECKED,
    flip_scores,
    make_record,
    shuffled_scores,
    write_pair_with_seeds,
    write_run,
)


def test_items_that_share_a_template_are_no_independent_ones(tmp_path: Path) -> None:
    base = shuffled_scores(350, N_CHECKED)
    for name, cluster in (("alone", None), ("grouped", lambda i: f"template {i // 50}")):
        write_run(tmp_path / name / "a", make_record("full", n=N_CHECKED), base, cluster=cluster)
        fallen = [0.0 if i < 50 else score for i, score in enumerate(base)]
        write_run(tmp_path / name / "b", make_record("lora", n=N_CHECKED, rank=8), fallen, cluster=cluster)
    code, alone = check_pair(tmp_path / "alone")
    assert (code, alone["tasks"][0]["test"]) == (1, "exact McNemar")
    code, grouped = check_pair(tmp_path / "grouped")
    assert (code, grouped["tasks"][0]["test"]) == (3, "cluster-robust t"), "one template of ten fell, not 35 items"


def test_with_fewer_than_three_seeds_it_is_this_checkpoint(tmp_path: Path) -> None:
    said = {}
    for seeds in (1, 2, 3):
        write_pair_with_seeds(tmp_path / str(seeds), seeds=seeds)
        root = tmp_path / str(seeds)
        code, out, _ = run_check("--baseline", f"{root}/a", "--candidate", f"{root}/b", "--markdown", f"{root}/x.md")
        assert (code, "this checkpoint, not this method" in out) == (0, seeds < 3)
        said[seeds] = check_pair(root)[1]["about"], "this checkpoint" in (root / "x.md").read_text()
    assert said == {1: ("checkpoint", True), 2: ("checkpoint", True), 3: ("method", False)}


def test_the_mean_of_tasks_has_its_share_of_what_seeds_add() -> None:
    ours, theirs = np.array([[1.0] * 60 + [0.0] * 40, [1.0] * 40 + [0.0] * 60]), np.full((1, 100), 0.5)
    one = weigh(Paired(ours, theirs, None, 100), "accuracy", 0.02, barred=False)
    whole = pool([one] * 4)
    assert one.seed_variance > 0
    assert (whole.seed_variance, whole.one_seed) == pytest.approx((one.seed_variance / 4, one.one_seed / 4))
    assert whole.difference.error == pytest.approx(one.difference.error / 2)


def test_prompts_alone_need_no_training_seeds(tmp_path: Path) -> None:
    write_run(tmp_path / "a", make_record("zero_shot", n=N_CHECKED), shuffled_scores(300, N_CHECKED))
    write_run(tmp_path / "b", make_record("instructed", n=N_CHECKED), shuffled_scores(300, N_CHECKED))
    _, data = check_pair(tmp_path)
    assert (data["about"], data["seeds"]) == ("method", {"baseline": None, "candidate": None})


def test_seeds_that_scatter_leave_it_open_and_more_seeds_would_decide(tmp_path: Path) -> None:
    base = shuffled_scores(350, N_CHECKED)
    for seed, shift in enumerate((-25, 0, 25)):
        write_run(tmp_path / "a", make_record("full", n=N_CHECKED, seed=seed), base)
        scores = flip_scores(base, max(0, shift), max(0, -shift), seed)
        write_run(tmp_path / "b", make_record("lora", n=N_CHECKED, rank=8, seed=seed), scores)
    code, data = check_pair(tmp_path)
    task = data["tasks"][0]
    assert (code, task["difference"]) == (3, pytest.approx(0))
    assert "seeds" in task["test"]
    # Means of the seeds: -5, 0 and 5 points, standard deviation 5. Of the variance that decides, (2 / 2.80)^2, items
    # take a part: 50 of 500 differ by a third.
    assert task["needed"] is None
    assert task["needed_seeds"] == pytest.approx(0.05**2 / ((0.02 / 2.80) ** 2 - 50 / 9 / 500**2), rel=0.03)


def test_crossed_seeds_cause_no_false_drift() -> None:
    """Seeds that shift a whole task by 2 points, 3 of them on each side, 8 tasks of 100 items; nothing has dropped."""
    draw = np.random.default_rng(5)
    alarms = 0
    for _ in range(400):
        tasks = []
        for _ in range(8):
            likely, shift = draw.uniform(0.3, 0.9, 100), draw.normal(0, 0.02, (2, 3, 1))
            ours, theirs = (draw.random((2, 3, 100)) < likely + shift).astype(float)
            tasks.append(weigh(Paired(ours, theirs, None, 100), "accuracy", 0.02, barred=False))
        alarms += judge(tasks).drifted
    assert alarms / 400 <= 0.08


def test_the_metrics_own_direction_decides_what_is_better() -> None:
    assert all(name in HIGHER_IS_BETTER for names in BY_KIND.values() for name in names)
    ours, theirs = np.array([[1.0] * 30 + [0.0] * 70]), np.array([[0.0] * 100])
    both = Paired(ours, theirs, None, 100)
    assert weigh(both, "accuracy", 0.02, barred=False).difference.value == pytest.approx(0.3)
    reverse = weigh(both, "outdated", 0.02, barred=False).difference
    assert reverse.value == pytest.approx(-0.3)
    assert reverse.low < -0.3 < reverse.high < 0


def test_identical_answers_count_by_their_clusters() -> None:
    scores = np.full((1, 40), 0.3)
    clusters = [f"template {i // 10}" for i in range(30)] + [None] * 10
    found = weigh(Paired(scores, scores, clusters, 40), "token_f1", 0.02, barred=False).difference
    reach = 1 - 0.025 ** (1 / 13)
    assert (found.low, found.high) == pytest.approx((-reach, reach))
    assert found.error == pytest.approx(reach / stats.Z)
