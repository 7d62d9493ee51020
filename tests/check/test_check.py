"""`harness check`: its verdict and exit code, mistakes in its words, and runs or items that are missing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness import stats
from harness.check import check
from tests.commands import check_pair, run_check
from tests.factories import (
    N_CHECKED,
    make_failed_record,
    make_record,
    revise,
    shuffled_scores,
    write_pair,
    write_pair_with_seeds,
    write_results,
    write_run,
)

# Verdicts and exit codes


@pytest.mark.parametrize(
    ("better", "worse", "verdict", "code"),
    [(40, 8, "better", 0), (6, 6, "no_worse", 0), (5, 45, "worse", 1), (25, 30, "inconclusive", 3)],
)
def test_the_exit_code_is_the_verdict(tmp_path: Path, better: int, worse: int, verdict: str, code: int) -> None:
    found, data = check_pair(write_pair(tmp_path, better, worse))
    assert (found, data["verdict"]) == (code, verdict)
    assert data["tasks"][0]["verdict"] == verdict


def test_the_json_is_what_the_contract_says(tmp_path: Path) -> None:
    _, data = check_pair(write_pair(tmp_path, 25, 30))
    (task,) = data["tasks"]
    assert task["task"] == "ticket_routing"
    assert (task["metric"], task["n"], task["verdict"]) == ("accuracy", N_CHECKED, "inconclusive")
    expected = stats.tango(25, 30, N_CHECKED)
    assert (task["difference"], task["low"], task["high"]) == (expected.value, expected.low, expected.high)
    assert isinstance(task["needed"], int) and task["needed"] > N_CHECKED
    assert task["test"] == "exact McNemar"
    assert data["pooled"]["difference"] == task["difference"]
    assert data["pooled"]["drift"]["p"] == pytest.approx(0.25, abs=0.01)  # z = -5 / sqrt(55)
    assert [ratio["figure"] for ratio in data["resources"]] == ["training_seconds", "latency_ms", "peak_memory"]
    assert data["about"] == "checkpoint"


def test_from_a_shell_a_refusal_is_exit_code_4_and_no_traceback(tmp_path: Path) -> None:
    base = shuffled_scores(300, N_CHECKED)
    write_run(tmp_path / "a", make_record("full", n=N_CHECKED, data="1" * 64), base)
    write_run(tmp_path / "b", make_record("lora", n=N_CHECKED, rank=8, data="2" * 64), base)
    words = ["check", "--baseline", str(tmp_path / "a"), "--candidate", str(tmp_path / "b")]
    ended = subprocess.run([sys.executable, "-m", "harness", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 4
    assert "verdict: not_comparable" in ended.stdout
    assert "different data: the baseline has 1111" in ended.stdout and "the candidate 2222" in ended.stdout
    assert ended.stderr == ""


# Usage


def test_several_methods_of_a_task_are_named_with_how_to_narrow(tmp_path: Path) -> None:
    write_pair(tmp_path, 5, 5)
    write_run(tmp_path / "b", make_record("lora", n=N_CHECKED, rank=16), shuffled_scores(300, N_CHECKED))
    code, out, err = run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b")
    assert (code, out) == (2, "")
    assert "--candidate: ticket_routing has several methods: lora r16, lora r8" in err
    narrowed = err.split("add ")[1].split(" to the selector")[0]
    assert run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b{narrowed}")[0] != 2


def test_settings_that_no_field_tells_apart_are_named(tmp_path: Path) -> None:
    for k in (2, 4):
        one = replace(
            make_record("few_shot", n=N_CHECKED), run_id=f"k{k}", config={"context": {"name": "few_shot", "k": k}}
        )
        write_run(tmp_path / "b", one, shuffled_scores(300, N_CHECKED))
    write_run(tmp_path / "a", make_record("zero_shot", n=N_CHECKED), shuffled_scores(300, N_CHECKED))
    code, _, err = run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b")
    assert code == 2
    assert "few_shot (context.k=2), few_shot (context.k=4)" in err
    assert "run_id=k2" in err
    assert run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b,run_id=k2")[0] != 2


def test_seeds_that_train_at_the_rate_another_chose_are_one_method(tmp_path: Path) -> None:
    write_pair(tmp_path, 5, 5)
    base = make_record("lora", n=N_CHECKED, rank=8)
    assert base.training
    chosen = base.training.learning_rate
    for seed, rate in ((1, [chosen, 1e-2]), (2, chosen), (3, [chosen, 1e-2])):
        one = make_record("lora", n=N_CHECKED, rank=8, seed=seed)
        write_run(
            tmp_path / "c",
            replace(one, config={**one.config, "training": {"learning_rate": rate}}),
            shuffled_scores(350, N_CHECKED),
        )
    assert check(f"{tmp_path}/a", f"{tmp_path}/c").seeds["candidate"] == 3
    for seed, best in ((0, 1e-4), (1, 1e-2)):
        one = make_record("prefix", n=N_CHECKED, seed=seed, config={"training": {"learning_rate": [1e-4, 1e-2]}})
        write_run(tmp_path / "d", revise(one, training={"learning_rate": best}), shuffled_scores(350, N_CHECKED))
    assert check(f"{tmp_path}/a", f"{tmp_path}/d").seeds["candidate"] == 2, "each seed chose among the same rates"
    other = replace(
        make_record("lora", n=N_CHECKED, rank=8, seed=4), config={**base.config, "training": {"learning_rate": 0.5}}
    )
    assert other.training
    write_run(tmp_path / "c", revise(other, training={"learning_rate": 0.5}), shuffled_scores(350, N_CHECKED))
    assert "several methods" in run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/c")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--baseline", "a"], "--candidate"),
        (["--baseline", "a", "--candidate", "nowhere"], "no such folder"),
        (["--baseline", "a", "--candidate", "a"], "both select"),
        (["--baseline", "a", "--candidate", "c"], "No task in common"),
        (["--baseline", "a", "--candidate", "b,colour=red"], "no field 'colour'"),
        (["--baseline", "a", "--candidate", "twice"], "several runs of lora r8 with seed 0"),
        (["--baseline", "a", "--candidate", "b", "--margin", "2"], "--margin 2: expected a share between 0 and 1"),
        (["--baseline", "a", "--candidate", "b", "--max-missing", "1.5"], "--max-missing 1.5"),
        (["--baseline", "a", "--candidate", "b", "--markdown", "a"], "cannot be written"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    write_pair(tmp_path, 5, 5)
    write_run(tmp_path / "c", make_record("lora", task="other", rank=8), shuffled_scores(10, 20))
    for name in ("one", "two"):
        write_run(
            tmp_path / "twice" / name,
            replace(make_record("lora", n=N_CHECKED, rank=8), run_id=name),
            shuffled_scores(350, N_CHECKED),
        )
    monkeypatch.chdir(tmp_path)
    code, out, err = run_check(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


# What is missing


@pytest.mark.parametrize(("side", "code"), [("candidate", 3), ("baseline", 0)])
def test_a_failed_run_of_the_candidate_bars_it_from_passing(tmp_path: Path, side: str, code: int) -> None:
    write_pair_with_seeds(tmp_path)
    assert check_pair(tmp_path)[0] == 0
    where, method, rank = ("b", "lora", 8) if side == "candidate" else ("a", "full", None)
    write_results(tmp_path / where, replace(make_failed_record(method, "oom", "out of memory", rank), seed=7))
    found, data = check_pair(tmp_path)
    assert found == code
    assert f"a {side} run did not finish: seed 7, oom: RuntimeError: out of memory" in data["tasks"][0]["remarks"]
    assert data["tasks"][0]["n"] == N_CHECKED, "the other seeds are compared"


def test_a_failed_run_does_not_hide_that_the_others_are_worse(tmp_path: Path) -> None:
    write_pair_with_seeds(tmp_path, drop=60)
    write_results(tmp_path / "b", replace(make_failed_record("lora", "diverged", "nan", 8), seed=7))
    assert check_pair(tmp_path)[0] == 1


def test_a_candidate_of_which_nothing_is_left_is_inconclusive(tmp_path: Path) -> None:
    write_pair(tmp_path, 40, 5)
    write_run(tmp_path / "a", make_record("full", n=N_CHECKED, task="squad"), shuffled_scores(300, N_CHECKED))
    write_results(tmp_path / "b", replace(make_failed_record("lora", "oom", "too large", 8), task="squad"))
    code, data = check_pair(tmp_path)
    assert (code, data["verdict"]) == (3, "inconclusive"), "better on one task, unknown on the other"
    squad = data["tasks"][0]
    assert (squad["task"], squad["n"], squad["difference"], squad["needed"]) == ("squad", 0, None, None)
    assert any("squad: a candidate run did not finish: seed 0, oom" in reason for reason in data["reasons"])


@pytest.mark.parametrize(("unscored", "words", "code"), [(5, [], 0), (6, [], 3), (6, ["--max-missing", "0.02"], 0)])
def test_items_without_a_score_count_against_passing(
    tmp_path: Path, unscored: int, words: list[str], code: int
) -> None:
    base = shuffled_scores(350, N_CHECKED)
    write_run(tmp_path / "a", make_record("full", n=N_CHECKED), base)
    write_run(tmp_path / "b", make_record("lora", n=N_CHECKED, rank=8), [None] * unscored + base[unscored:])
    found, data = check_pair(tmp_path, *words)
    assert found == code
    assert (data["tasks"][0]["missing"], data["tasks"][0]["asked"], data["tasks"][0]["n"]) == (
        unscored,
        N_CHECKED,
        N_CHECKED - unscored,
    )
    assert any(f"{unscored} of 500 items have no score" in remark for remark in data["tasks"][0]["remarks"]) == (
        code == 3
    )


def test_a_run_on_fewer_items_or_without_predictions_does_not_pass(tmp_path: Path) -> None:
    base = shuffled_scores(350, N_CHECKED)
    write_run(tmp_path / "a", make_record("full", n=N_CHECKED), base)
    write_run(tmp_path / "b", make_record("lora", n=N_CHECKED, rank=8), base[:400])
    assert check_pair(tmp_path)[0] == 3
    write_results(tmp_path / "c", make_record("lora", n=N_CHECKED, rank=8))
    code, out, _ = run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/c")
    assert code == 3
    assert "predictions are missing in" in out


def test_a_handful_of_identical_answers_proves_nothing(tmp_path: Path) -> None:
    for i, score in enumerate((1.0, 0.3)):
        write_run(tmp_path / str(i) / "a", make_record("full", n=8), [score] * 8)
        write_run(tmp_path / str(i) / "b", make_record("lora", n=8, rank=8), [score] * 8)
        code, data = check_pair(tmp_path / str(i))
        assert code == 3
        tango, exact = stats.tango(0, 0, 8).high, 1 - 0.025 ** (1 / 8)  # of right and wrong, and of parts of right
        reach = tango if score == 1 else exact
        assert (data["tasks"][0]["low"], data["tasks"][0]["high"]) == pytest.approx((-reach, reach))
