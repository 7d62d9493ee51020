"""`harness check`: what it says of invented runs, through the command line, and how often it is right."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from typer.main import get_command

from benchmarks.gate_power import CLAIMS, Claim, evidence
from harness import cli, stats
from harness.check import check
from harness.check.gate import PASSES, Evidence, items_needed, judge, pool, seeds_needed
from harness.check.margins import RESOURCES
from harness.check.outcome import EXIT_CODES
from harness.check.paired import Paired, weigh
from harness.metrics import HIGHER_IS_BETTER
from harness.records import Record
from harness.tasks import BY_KIND
from tests.invented import failed, record, store

N = 500
Scores = list[float | None]


def write(root: Path, run: Record, scores: Scores, **columns: Any) -> None:
    """A run with its predictions; a column is a value, or a function of the item's number."""
    store(root, run)
    rows = [
        {"id": f"test-{i}", "score": score, "prompt": f"question {i}"}
        | {name: value(i) if callable(value) else value for name, value in columns.items()}
        for i, score in enumerate(scores)
    ]
    (path,) = [p for p in root.rglob("record.json") if Record.from_json(p.read_text()) == run]
    (path.parent / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def answers(right: int, n: int = N) -> Scores:
    scores: Scores = [1.0] * right + [0.0] * (n - right)
    random.Random(1).shuffle(scores)
    return scores


def changed(scores: Scores, better: int, worse: int, seed: int = 0) -> Scores:
    """The same answers, but for so many that are right now and so many that are wrong now."""
    draw = random.Random(seed)
    flipped = [
        i
        for value, count in ((0.0, better), (1.0, worse))
        for i in draw.sample([i for i, score in enumerate(scores) if score == value], count)
    ]
    return [1 - score if i in flipped and score is not None else score for i, score in enumerate(scores)]


def run(*words: str) -> tuple[int, str, str]:
    """`harness check ...` in this process: exit code, what it printed, what it complained of."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["harness", "check", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue(), err.getvalue()


def checked(root: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, err = run("--baseline", f"{root / 'a'}", "--candidate", f"{root / 'b'}", "--json", *words)
    assert out, err
    return code, json.loads(out)


def two(root: Path, better: int, worse: int, n: int = N, **changes: Any) -> Path:
    """Full fine-tuning and a candidate, one checkpoint each, on one task."""
    base = answers(n * 7 // 10, n)
    write(root / "a", record("full", n=n), base)
    write(root / "b", replace(record("lora", n=n, rank=8), **changes), changed(base, better, worse))
    return root


def seeded(
    root: Path, *, drop: int = 0, seeds: int = 3, task: str = "ticket_routing", n: int = N, **candidate: Any
) -> Path:
    """Both with several training seeds, whose answers differ on a few items; `drop` more are wrong in the candidate."""
    base = answers(n * 7 // 10, n)
    for seed in range(seeds):
        write(root / "a", record("full", n=n, seed=seed, task=task), changed(base, 3, 3, seed))
        write(
            root / "b",
            record("lora", n=n, rank=8, seed=seed, task=task, **candidate),
            changed(base, 3, 3 + drop, seed + 9),
        )
    return root


# Verdicts and exit codes


@pytest.mark.parametrize(
    ("better", "worse", "verdict", "code"),
    [(40, 8, "better", 0), (6, 6, "no_worse", 0), (5, 45, "worse", 1), (25, 30, "inconclusive", 3)],
)
def test_the_exit_code_is_the_verdict(tmp_path: Path, better: int, worse: int, verdict: str, code: int) -> None:
    found, data = checked(two(tmp_path, better, worse))
    assert (found, data["verdict"]) == (code, verdict)
    assert data["tasks"][0]["verdict"] == verdict


def test_the_json_is_what_the_contract_says(tmp_path: Path) -> None:
    _, data = checked(two(tmp_path, 25, 30))
    (task,) = data["tasks"]
    assert task["task"] == "ticket_routing"
    assert (task["metric"], task["n"], task["verdict"]) == ("accuracy", N, "inconclusive")
    expected = stats.tango(25, 30, N)
    assert (task["difference"], task["low"], task["high"]) == (expected.value, expected.low, expected.high)
    assert isinstance(task["needed"], int) and task["needed"] > N
    assert task["test"] == "exact McNemar"
    assert data["pooled"]["difference"] == task["difference"]
    assert data["pooled"]["drift"]["p"] == pytest.approx(0.25, abs=0.01)  # z = -5 / sqrt(55)
    assert [ratio["figure"] for ratio in data["resources"]] == ["training_seconds", "latency_ms", "peak_memory"]
    assert data["about"] == "checkpoint"


def test_from_a_shell_a_refusal_is_exit_code_4_and_no_traceback(tmp_path: Path) -> None:
    base = answers(300)
    write(tmp_path / "a", record("full", n=N, data="1" * 64), base)
    write(tmp_path / "b", record("lora", n=N, rank=8, data="2" * 64), base)
    words = ["check", "--baseline", str(tmp_path / "a"), "--candidate", str(tmp_path / "b")]
    ended = subprocess.run([sys.executable, "-m", "harness", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 4
    assert "verdict: not_comparable" in ended.stdout
    assert "other data: the baseline has 1111" in ended.stdout and "the candidate 2222" in ended.stdout
    assert ended.stderr == ""


def test_the_metrics_own_direction_decides_what_is_better() -> None:
    assert all(name in HIGHER_IS_BETTER for names in BY_KIND.values() for name in names)
    ours, theirs = np.array([[1.0] * 30 + [0.0] * 70]), np.array([[0.0] * 100])
    both = Paired(ours, theirs, None, 100)
    assert weigh(both, "accuracy", 0.02, barred=False).found.value == pytest.approx(0.3)
    reverse = weigh(both, "outdated", 0.02, barred=False).found
    assert reverse.value == pytest.approx(-0.3)
    assert reverse.low < -0.3 < reverse.high < 0


# Usage


def test_several_methods_of_a_task_are_named_with_how_to_narrow(tmp_path: Path) -> None:
    two(tmp_path, 5, 5)
    write(tmp_path / "b", record("lora", n=N, rank=16), answers(300))
    code, out, err = run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b")
    assert (code, out) == (2, "")
    assert "--candidate: ticket_routing has several methods: lora r16, lora r8" in err
    narrowed = err.split("add ")[1].split(" to the selector")[0]
    assert run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b{narrowed}")[0] != 2


def test_settings_that_no_field_tells_apart_are_named(tmp_path: Path) -> None:
    for k in (2, 4):
        one = replace(record("few_shot", n=N), run_id=f"k{k}", config={"context": {"name": "few_shot", "k": k}})
        write(tmp_path / "b", one, answers(300))
    write(tmp_path / "a", record("zero_shot", n=N), answers(300))
    code, _, err = run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b")
    assert code == 2
    assert "few_shot (context.k=2), few_shot (context.k=4)" in err
    assert "run_id=k2" in err
    assert run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b,run_id=k2")[0] != 2


def test_seeds_that_train_at_the_rate_another_chose_are_one_method(tmp_path: Path) -> None:
    two(tmp_path, 5, 5)
    base = record("lora", n=N, rank=8)
    assert base.training
    chosen = base.training["learning_rate"]
    for seed, rate in ((1, [chosen, 1e-2]), (2, chosen), (3, [chosen, 1e-2])):
        one = record("lora", n=N, rank=8, seed=seed)
        write(tmp_path / "c", replace(one, config={**one.config, "training": {"learning_rate": rate}}), answers(350))
    assert check(f"{tmp_path}/a", f"{tmp_path}/c").seeds["candidate"] == 3
    for seed, best in ((0, 1e-4), (1, 1e-2)):
        one = record("prefix", n=N, seed=seed, config={"training": {"learning_rate": [1e-4, 1e-2]}})
        write(tmp_path / "d", replace(one, training={**(one.training or {}), "learning_rate": best}), answers(350))
    assert check(f"{tmp_path}/a", f"{tmp_path}/d").seeds["candidate"] == 2, "each seed chose among the same rates"
    other = replace(record("lora", n=N, rank=8, seed=4), config={**base.config, "training": {"learning_rate": 0.5}})
    assert other.training
    write(tmp_path / "c", replace(other, training={**other.training, "learning_rate": 0.5}), answers(350))
    assert "several methods" in run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/c")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--baseline", "a"], "--candidate"),
        (["--baseline", "a", "--candidate", "nowhere"], "no such folder"),
        (["--baseline", "a", "--candidate", "a"], "both select"),
        (["--baseline", "a", "--candidate", "c"], "No task in common"),
        (["--baseline", "a", "--candidate", "b,colour=red"], "no field 'colour'"),
        (["--baseline", "a", "--candidate", "twice"], "several runs of lora r8 with seed 0"),
        (["--baseline", "a", "--candidate", "b", "--margin", "2"], "--margin 2: a share between 0 and 1"),
        (["--baseline", "a", "--candidate", "b", "--max-missing", "1.5"], "--max-missing 1.5"),
        (["--baseline", "a", "--candidate", "b", "--markdown", "a"], "cannot be written"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    two(tmp_path, 5, 5)
    write(tmp_path / "c", record("lora", task="other", rank=8), answers(10, 20))
    for name in ("one", "two"):
        write(tmp_path / "twice" / name, replace(record("lora", n=N, rank=8), run_id=name), answers(350))
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics: {acuracy: 0.02}", "metrics.acuracy: not known; known are accuracy"),
        ("resources: {latency_ms: ten}", "resources.latency_ms: 'ten'; expected a share"),
        ("resources: {latency_ms: 10}", "resources.latency_ms: 10; expected a share"),
        ("metrics: {accuracy: true}", "metrics.accuracy: True; expected a share"),
        ("metrics: 0.02", "metrics: expected a name and a number"),
        ("quality: 0.02", "quality: no such part"),
        ("- 1", "expected the parts"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_mistake_in_the_margins_is_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    two(tmp_path, 5, 5)
    path = tmp_path / "margins.yaml"
    path.write_text(text)
    code, _, err = run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b", "--margins", str(path))
    assert code == 2
    assert f"{path}: {said}" in err


def test_margins_come_from_the_file_and_the_option_wins(tmp_path: Path) -> None:
    two(tmp_path, 25, 30)
    path = tmp_path / "margins.yaml"
    path.write_text("metrics: {accuracy: 0.06}\nresources: {peak_memory: 0.5}\n")
    assert checked(tmp_path)[0] == 3
    code, data = checked(tmp_path, "--margins", str(path))
    assert (code, data["tasks"][0]["margin"], data["resources"][2]["margin"]) == (0, 0.06, 0.5)
    assert data["resources"][0]["margin"] == 0.10
    code, data = checked(tmp_path, "--margins", str(path), "--margin", "0.01")
    assert (code, data["tasks"][0]["margin"]) == (3, 0.01)


# What may not be compared


def with_model(run: Record, **settings: Any) -> Record:
    return replace(run, config={**run.config, "model": {"name": run.model, "about": str(settings), **settings}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda r: replace(r, environment={**r.environment, "data_sha256": "ff00"}),
            "other data: the baseline has 3f9a0c",
        ),
        (
            lambda r: replace(r, quality={**(r.quality or {}), "metric": "exact_match"}),
            "other metric: the baseline has accuracy, the candidate exact_match",
        ),
        (lambda r: replace(r, model="llama"), "other model: the baseline has smollm2-135m-q4, the candidate llama"),
        (lambda r: with_model(r, revision="b"), "other model.revision: the baseline has a, the candidate b"),
    ],
)
def test_what_is_not_comparable_is_refused_with_the_difference(tmp_path: Path, change: Any, said: str) -> None:
    base = answers(300)
    write(tmp_path / "a", with_model(record("full", n=N), revision="a"), base)
    write(tmp_path / "b", change(with_model(record("lora", n=N, rank=8), revision="a")), base)
    code, data = checked(tmp_path)
    assert (code, data["verdict"]) == (4, "not_comparable")
    (task,) = data["tasks"]
    assert any(said in remark for remark in task["remarks"])
    assert (task["difference"], task["n"], task["verdict"]) == (None, 0, "not_comparable")


def test_a_metric_of_no_stated_direction_is_refused(tmp_path: Path) -> None:
    for side, method in (("a", "full"), ("b", "prefix")):
        one = record(method, n=N)
        write(tmp_path / side, replace(one, quality={**(one.quality or {}), "metric": "perplexity"}), answers(300))
    code, data = checked(tmp_path)
    assert code == 4
    assert "whether more of it is better is not stated" in data["tasks"][0]["remarks"][0]


def test_other_prompts_in_the_same_context_are_refused_and_shown(tmp_path: Path) -> None:
    base = answers(300)
    write(tmp_path / "a", record("full", n=N), base)
    write(tmp_path / "b", record("lora", n=N, rank=8), base, prompt=lambda i: f"question {i}" + "!" * (i % 2))
    code, data = checked(tmp_path)
    assert code == 4
    assert data["tasks"][0]["remarks"] == [
        "other prompts on 250 items though the context is the same; test-1: "
        "the baseline has «question 1», the candidate has «question 1!»".replace("candidate has", "candidate")
    ]


def test_another_context_is_another_method_and_is_compared(tmp_path: Path) -> None:
    base = answers(300)
    write(tmp_path / "a", record("zero_shot", n=N), base)
    write(tmp_path / "b", record("rag", n=N), base, prompt=lambda i: f"passage, question {i}")
    assert checked(tmp_path)[0] == 0


def test_the_same_answer_with_another_score_is_another_scorer(tmp_path: Path) -> None:
    base = answers(300)
    judged = {"completion": "billing", "metrics": {"accuracy": 1.0}}
    write(tmp_path / "a", record("full", n=N), base, **judged)
    write(tmp_path / "b", record("lora", n=N, rank=8), changed(base, 0, 1), **judged)
    code, data = checked(tmp_path)
    assert code == 4
    assert "other scorer: 1 items have the same answer and another score" in data["tasks"][0]["remarks"][0]
    assert "«billing» has 1 in the baseline, 0 in the candidate" in data["tasks"][0]["remarks"][0]


def test_one_task_that_cannot_be_compared_is_not_left_out(tmp_path: Path) -> None:
    two(tmp_path, 6, 6)
    write(tmp_path / "a", record("full", n=N, task="squad", data="1" * 64), answers(300))
    write(tmp_path / "b", record("lora", n=N, rank=8, task="squad", data="2" * 64), answers(300))
    code, data = checked(tmp_path)
    assert code == 4
    assert {task["task"]: task["verdict"] for task in data["tasks"]} == {
        "squad": "not_comparable",
        "ticket_routing": "no_worse",
    }


# What is missing


@pytest.mark.parametrize(("side", "code"), [("candidate", 3), ("baseline", 0)])
def test_a_failed_run_of_the_candidate_bars_it_from_passing(tmp_path: Path, side: str, code: int) -> None:
    seeded(tmp_path)
    assert checked(tmp_path)[0] == 0
    where, method, rank = ("b", "lora", 8) if side == "candidate" else ("a", "full", None)
    store(tmp_path / where, replace(failed(method, "oom", "out of memory", rank), seed=7))
    found, data = checked(tmp_path)
    assert found == code
    assert f"a run of the {side} ended: seed 7, oom: RuntimeError: out of memory" in data["tasks"][0]["remarks"]
    assert data["tasks"][0]["n"] == N, "the other seeds are compared"


def test_a_failed_run_does_not_hide_that_the_others_are_worse(tmp_path: Path) -> None:
    seeded(tmp_path, drop=60)
    store(tmp_path / "b", replace(failed("lora", "diverged", "nan", 8), seed=7))
    assert checked(tmp_path)[0] == 1


def test_a_candidate_of_which_nothing_is_left_is_inconclusive(tmp_path: Path) -> None:
    two(tmp_path, 40, 5)
    write(tmp_path / "a", record("full", n=N, task="squad"), answers(300))
    store(tmp_path / "b", replace(failed("lora", "oom", "too large", 8), task="squad"))
    code, data = checked(tmp_path)
    assert (code, data["verdict"]) == (3, "inconclusive"), "better on one task, unknown on the other"
    squad = data["tasks"][0]
    assert (squad["task"], squad["n"], squad["difference"], squad["needed"]) == ("squad", 0, None, None)
    assert any("squad: a run of the candidate ended: seed 0, oom" in reason for reason in data["reasons"])


@pytest.mark.parametrize(("unscored", "words", "code"), [(5, [], 0), (6, [], 3), (6, ["--max-missing", "0.02"], 0)])
def test_items_without_a_score_count_against_passing(
    tmp_path: Path, unscored: int, words: list[str], code: int
) -> None:
    base = answers(350)
    write(tmp_path / "a", record("full", n=N), base)
    write(tmp_path / "b", record("lora", n=N, rank=8), [None] * unscored + base[unscored:])
    found, data = checked(tmp_path, *words)
    assert found == code
    assert (data["tasks"][0]["missing"], data["tasks"][0]["asked"], data["tasks"][0]["n"]) == (
        unscored,
        N,
        N - unscored,
    )
    assert any(f"{unscored} of 500 items have no score" in remark for remark in data["tasks"][0]["remarks"]) == (
        code == 3
    )


def test_a_run_on_fewer_items_or_without_predictions_does_not_pass(tmp_path: Path) -> None:
    base = answers(350)
    write(tmp_path / "a", record("full", n=N), base)
    write(tmp_path / "b", record("lora", n=N, rank=8), base[:400])
    assert checked(tmp_path)[0] == 3
    store(tmp_path / "c", record("lora", n=N, rank=8))
    code, out, _ = run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/c")
    assert code == 3
    assert "no predictions beside the record" in out


def test_a_handful_of_identical_answers_proves_nothing(tmp_path: Path) -> None:
    for i, score in enumerate((1.0, 0.3)):
        write(tmp_path / str(i) / "a", record("full", n=8), [score] * 8)
        write(tmp_path / str(i) / "b", record("lora", n=8, rank=8), [score] * 8)
        code, data = checked(tmp_path / str(i))
        assert code == 3
        expected = stats.tango(0, 0, 8)
        assert (data["tasks"][0]["low"], data["tasks"][0]["high"]) == pytest.approx((expected.low, expected.high))


def test_identical_answers_count_by_their_clusters() -> None:
    scores = np.full((1, 40), 0.3)
    clusters = [f"template {i // 10}" for i in range(30)] + [None] * 10
    found = weigh(Paired(scores, scores, clusters, 40), "token_f1", 0.02, barred=False).found
    assert (found.low, found.high) == pytest.approx((stats.tango(0, 0, 13).low, stats.tango(0, 0, 13).high))


# Clusters and seeds


def test_items_that_share_a_template_are_no_independent_ones(tmp_path: Path) -> None:
    base = answers(350)
    for name, cluster in (("alone", None), ("grouped", lambda i: f"template {i // 50}")):
        write(tmp_path / name / "a", record("full", n=N), base, cluster=cluster)
        fallen = [0.0 if i < 50 else score for i, score in enumerate(base)]
        write(tmp_path / name / "b", record("lora", n=N, rank=8), fallen, cluster=cluster)
    code, alone = checked(tmp_path / "alone")
    assert (code, alone["tasks"][0]["test"]) == (1, "exact McNemar")
    code, grouped = checked(tmp_path / "grouped")
    assert (code, grouped["tasks"][0]["test"]) == (3, "cluster-robust t"), "one template of ten fell, not 35 items"


def test_with_fewer_than_three_seeds_it_is_this_checkpoint(tmp_path: Path) -> None:
    said = {}
    for seeds in (1, 2, 3):
        seeded(tmp_path / str(seeds), seeds=seeds)
        root = tmp_path / str(seeds)
        code, out, _ = run("--baseline", f"{root}/a", "--candidate", f"{root}/b", "--markdown", f"{root}/x.md")
        assert (code, "this checkpoint, not this method" in out) == (0, seeds < 3)
        said[seeds] = checked(root)[1]["about"], "this checkpoint" in (root / "x.md").read_text()
    assert said == {1: ("checkpoint", True), 2: ("checkpoint", True), 3: ("method", False)}


def test_the_mean_of_tasks_has_its_share_of_what_seeds_add() -> None:
    ours, theirs = np.array([[1.0] * 60 + [0.0] * 40, [1.0] * 40 + [0.0] * 60]), np.full((1, 100), 0.5)
    one = weigh(Paired(ours, theirs, None, 100), "accuracy", 0.02, barred=False)
    whole = pool([one] * 4)
    assert one.seed_variance > 0
    assert (whole.seed_variance, whole.one_seed) == pytest.approx((one.seed_variance / 4, one.one_seed / 4))
    assert whole.found.error == pytest.approx(one.found.error / 2)


def test_prompts_alone_need_no_training_seeds(tmp_path: Path) -> None:
    write(tmp_path / "a", record("zero_shot", n=N), answers(300))
    write(tmp_path / "b", record("instructed", n=N), answers(300))
    _, data = checked(tmp_path)
    assert (data["about"], data["seeds"]) == ("method", {"baseline": None, "candidate": None})


def test_seeds_that_scatter_leave_it_open_and_more_seeds_would_decide(tmp_path: Path) -> None:
    base = answers(350)
    for seed, shift in enumerate((-25, 0, 25)):
        write(tmp_path / "a", record("full", n=N, seed=seed), base)
        scores = changed(base, max(0, shift), max(0, -shift), seed)
        write(tmp_path / "b", record("lora", n=N, rank=8, seed=seed), scores)
    code, data = checked(tmp_path)
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


# The gate


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
    assert items_needed(few) == pytest.approx(stats.items_needed(0.02, few.found.sd), rel=0.01)


def test_one_task_that_fell_far_is_not_hidden_by_the_mean(tmp_path: Path) -> None:
    base = answers(350)
    for i in range(8):
        write(tmp_path / "a", record("full", n=N, task=f"task{i}"), base)
        fell = changed(base, 10, 80) if i == 3 else changed(base, 30, 10)
        write(tmp_path / "b", record("lora", n=N, rank=8, task=f"task{i}"), fell)
    code, data = checked(tmp_path)
    assert data["pooled"]["verdict"] == "better"
    assert (code, data["verdict"]) == (1, "worse")
    assert [task["fallen"] for task in data["tasks"]] == [i == 3 for i in range(8)]
    assert any("task3 alone fell by 14.0 points, more than the 5 that one task may" in said for said in data["reasons"])


def judged(*counts: tuple[int, int], margin: float = 0.02) -> Any:
    return judge([replace(evidence(better, worse, 300), margin=margin) for better, worse in counts])


def test_a_fall_that_may_lie_within_the_margin_is_no_pass_and_not_worse() -> None:
    found = judged((6, 25), *[(15, 10)] * 7)
    assert found.pooled.verdict() in PASSES
    assert (found.fallen[0], found.verdict) == (True, "inconclusive")
    assert judged((10, 24), *[(15, 10)] * 7).verdict in PASSES, "4.7 points are no fall"
    assert judged((18, 36), *[(15, 10)] * 7).verdict in PASSES, "6 points that eight looks may show by chance"
    assert judged((6, 25), *[(15, 10)] * 7, margin=0.08).verdict in PASSES, "a margin of 8 points allows as much"


def test_a_small_drop_on_every_task_is_seen_and_said(tmp_path: Path) -> None:
    base = answers(200, 300)
    for i in range(8):
        write(tmp_path / "a", record("full", n=300, task=f"task{i}"), base)
        write(tmp_path / "b", record("lora", n=300, rank=8, task=f"task{i}"), changed(base, 12, 17, i))
    code, data = checked(tmp_path)
    assert code == 3
    assert data["pooled"]["drift"] == {"p": pytest.approx(0.005, abs=0.004), "found": True}
    assert min(task["p_corrected"] for task in data["tasks"]) > 0.5
    assert any("fell by 1.7 points" in said and "which no single task shows" in said for said in data["reasons"])


def test_tasks_that_only_one_side_has_are_named(tmp_path: Path) -> None:
    two(tmp_path, 6, 6)
    write(tmp_path / "a", record("full", n=N, task="squad"), answers(300))
    code, data = checked(tmp_path)
    assert code == 0
    assert "Only --baseline has squad: not compared." in data["reasons"]


# Resources


def with_memory(root: Path, factor: float, seeds: int = 3, **changes: Any) -> Path:
    """Equal quality; the candidate's peak is so many times the baseline's, give or take a percent."""
    base = answers(350)
    for seed in range(seeds):
        wobble = 1 + 0.01 * (seed - 1)
        write(root / "a", record("full", n=N, seed=seed, memory=1000 * wobble, seconds=100.0), base)
        one = record("lora", n=N, rank=8, seed=seed, memory=1000 * factor * wobble, seconds=100.0)
        write(root / "b", replace(one, **changes), base)
    return root


def memory_of(data: dict[str, Any]) -> dict[str, Any]:
    return next(ratio for ratio in data["resources"] if ratio["figure"] == "peak_memory")


def test_a_resource_that_got_worse_on_the_same_hardware_fails_the_gate(tmp_path: Path) -> None:
    code, data = checked(with_memory(tmp_path, 1.09))
    ratio = memory_of(data)
    assert (code, data["verdict"], data["pooled"]["verdict"]) == (1, "worse", "no_worse")
    assert (ratio["verdict"], ratio["decides"], ratio["interval_over"]) == ("worse", True, "seeds")
    assert ratio["ratio"] == pytest.approx(1.09, rel=1e-3)
    assert 1.05 < ratio["low"] < 1.09 < ratio["high"] < 1.13
    assert any("peak memory is worse: 1.09 times" in said for said in data["reasons"])


def test_a_resource_within_its_margin_passes(tmp_path: Path) -> None:
    code, data = checked(with_memory(tmp_path, 1.01))
    assert (code, memory_of(data)["verdict"]) == (0, "no_worse")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"environment": {"device": "cuda: other", "data_sha256": "3f9a0c" + "0" * 58}}, "other hardware"),
        ({"contaminated": {"memory": ["3 other processes"]}}, "contaminated: 3 other processes"),
    ],
)
def test_other_hardware_or_a_disturbance_decides_nothing(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    for factor in (0.5, 2.0):
        root = with_memory(tmp_path / str(factor), factor, **changes)
        code, data = checked(root)
        ratio = memory_of(data)
        assert (code, ratio["verdict"], ratio["decides"]) == (0, "inconclusive", False)
        assert any(said in why for why in ratio["undecided"])


def test_fewer_than_three_seeds_decide_nothing_about_a_resource(tmp_path: Path) -> None:
    code, data = checked(with_memory(tmp_path / "two", 2.0, seeds=2))
    assert (code, memory_of(data)["decides"]) == (0, False)
    code, data = checked(with_memory(tmp_path / "one", 2.0, seeds=1))
    ratio = memory_of(data)
    assert (code, ratio["ratio"], ratio["low"], ratio["verdict"]) == (
        0,
        pytest.approx(2.0, rel=1e-3),
        None,
        "inconclusive",
    )


def test_the_requests_of_one_process_give_a_latency_an_interval_that_fails_nothing(tmp_path: Path) -> None:
    base = answers(350)
    for side, method, p50 in (("a", "full", 100.0), ("b", "prefix", 150.0)):
        one = record(method, n=N)
        latency = {"p50": p50, "p95": p50, "mean": p50, "n": 20, "spread": 0.1}
        write(tmp_path / side, replace(one, inference={**(one.inference or {}), "latency_ms": latency}), base)
    code, data = checked(tmp_path)
    ratio = data["resources"][1]
    assert (code, ratio["verdict"], ratio["interval_over"], ratio["decides"]) == (0, "worse", "requests", False)
    # error of one logarithm: 1.2533 x 0.1 / 1.349 / sqrt(20) = 0.0208; of the ratio 0.0294; t(38) 2.024
    assert np.log(ratio["high"] / ratio["ratio"]) == pytest.approx(2.024 * 0.0294, rel=0.01)


# Outputs


def test_junit_counts_its_cases_and_names_what_failed(tmp_path: Path) -> None:
    two(tmp_path, 5, 45)
    hostile = 'task <&"\x1b[31m\ud800|`'.encode("utf-8", "replace").decode()
    write(tmp_path / "a", record("full", n=N, task=hostile), answers(300))
    write(tmp_path / "b", record("lora", n=N, rank=8, task=hostile), changed(answers(300), 25, 30))
    path = tmp_path / "new" / "junit.xml"
    code, *_ = run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b", "--junit", str(path))
    assert code == 1
    root = ElementTree.parse(path).getroot()
    assert root.tag == "testsuites" and not root.attrib
    (suite,) = root
    assert [part.tag for part in suite] == ["properties", *["testcase"] * 6, "system-out", "system-err"]
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases[1:]] == [
        "ticket_routing", "all tasks", "training time", "latency p50", "peak memory",
    ]  # fmt: skip
    assert all(case.get("classname") and case.get("time") for case in cases)
    endings = [[part.tag for part in case] for case in cases]
    assert endings == [["skipped"], ["failure"], ["failure"], ["skipped"], ["skipped"], ["skipped"]]
    assert "-8.0 points" in str(cases[1][0].get("message"))
    assert all(case[0].get("type") in ("worse", "inconclusive") for case in cases)
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "2", "errors": "0", "skipped": "4"}
    assert suite.get("timestamp") == "2026-03-01T10:06:00"
    assert "worse" in str(suite.findtext("system-out"))


def test_junit_of_a_refusal_is_an_error_and_of_a_pass_nothing(tmp_path: Path) -> None:
    for name, data in (("refused", "2" * 64), ("passed", "1" * 64)):
        write(tmp_path / name / "a", record("full", n=N, data="1" * 64), answers(300))
        write(tmp_path / name / "b", record("lora", n=N, rank=8, data=data), answers(300))
        root = tmp_path / name
        run("--baseline", f"{root}/a", "--candidate", f"{root}/b", "--junit", f"{root}/junit.xml")
    refused, passed = (ElementTree.parse(tmp_path / name / "junit.xml").getroot()[0] for name in ("refused", "passed"))
    assert [part.tag for part in refused.findall("testcase")[0]] == ["error"]
    assert refused.get("errors") == "2"
    assert [len(case) for case in passed.findall("testcase")][:2] == [0, 0]


def test_what_no_file_can_hold_is_replaced(tmp_path: Path) -> None:
    """Half a surrogate pair and U+FFFE, which JSON may carry and XML may not."""
    for side, method in (("a", "full"), ("b", "prefix")):
        write(tmp_path / side, record(method, n=N, task="odd SURROGATE \ufffe"), answers(300))
        (path,) = (tmp_path / side).rglob("record.json")
        path.write_text(path.read_text().replace("SURROGATE", "\\ud800"))
    sides = ["--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b"]
    code, out, _ = run(*sides, "--junit", f"{tmp_path}/x.xml", "--markdown", f"{tmp_path}/x.md")
    assert code == 0
    assert out.encode()
    assert ElementTree.parse(tmp_path / "x.xml").getroot()[0].findall("testcase")[0].get("name") == "odd ? ?"
    assert json.loads(run(*sides, "--json")[1])["tasks"][0]["task"] == "odd \ud800 \ufffe"


def test_markdown_shows_hostile_names_as_text(tmp_path: Path) -> None:
    hostile = "a|b <script>alert(1)</script> [x](http://evil)"
    write(tmp_path / "a", record("full", n=N, task=hostile), answers(300))
    store(tmp_path / "b", replace(failed("lora", "oom", "|<img src=x>` | [y](http://evil)", 8), task=hostile))
    path = tmp_path / "comment.md"
    code, *_ = run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b", "--markdown", str(path))
    text = path.read_text()
    assert code == 3
    assert "a&#124;b &lt;script&gt;" in text
    assert not any(part in text for part in ("<script", "<img", "[x]", "[y]"))
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {9, 7}
    assert text.startswith("### inconclusive")


def test_the_terminal_says_what_is_compared_and_what_would_decide(tmp_path: Path) -> None:
    two(tmp_path, 25, 30)
    code, out, err = run("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b")
    assert (code, err) == (3, "")
    assert out.startswith("lora r8 against full\n")
    (needed,) = [line for line in out.splitlines() if line.startswith("Would decide")]
    total = int(needed.split("about ")[1].split()[0].replace(",", ""))
    assert f"({total - N:,} more)" in needed
    assert out.rstrip().endswith("verdict: inconclusive (this checkpoint, not this method)")


def test_the_page_shows_commands_that_parse() -> None:
    page = (Path(__file__).parent.parent / "docs" / "check.md").read_text()
    shown = [line.split("   ")[0] for line in page.splitlines() if line.strip().startswith("harness check")]
    assert len(shown) >= 4
    command = get_command(cli.app).commands["check"]  # type: ignore[attr-defined]
    for line in shown:
        context = command.make_context("check", line.split()[2:])
        assert context.params["baseline"] and context.params["candidate"]


def test_the_page_tells_the_defaults_and_the_exit_codes() -> None:
    page = (Path(__file__).parent.parent / "docs" / "check.md").read_text()
    shown = yaml.safe_load(page.split("## Margins")[1].split("```yaml")[1].split("```")[0])
    assert shown["resources"] == RESOURCES
    for verdict, code in EXIT_CODES.items():
        assert re.search(rf"^\| {code} \|.*`{verdict}`", page, re.MULTILINE)


def test_evidence_that_is_barred_may_still_be_worse() -> None:
    worse = evidence(5, 45, 500)
    assert Evidence(worse.found, 0.02, barred=True).verdict() == "worse"
    assert Evidence(evidence(45, 5, 500).found, 0.02, barred=True).verdict() == "inconclusive"
