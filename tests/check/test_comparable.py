"""What `harness check` refuses to compare, with the difference shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.records.record import Record
from tests.commands import check_pair
from tests.factories import N_CHECKED, flip_scores, make_record, revise, shuffled_scores, write_pair, write_run


def with_model(run: Record, **settings: Any) -> Record:
    return replace(run, config={**run.config, "model": {"name": run.model, "about": str(settings), **settings}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda r: revise(r, environment={"data_sha256": "ff00"}),
            "different data: the baseline has 3f9a0c",
        ),
        (
            lambda r: revise(r, quality={"metric": "exact_match"}),
            "different metric: the baseline has accuracy, the candidate exact_match",
        ),
        (lambda r: replace(r, model="llama"), "different model: the baseline has smollm2-135m-q4, the candidate llama"),
        (lambda r: with_model(r, revision="b"), "different model.revision: the baseline has a, the candidate b"),
    ],
)
def test_what_is_not_comparable_is_refused_with_the_difference(tmp_path: Path, change: Any, said: str) -> None:
    base = shuffled_scores(300, N_CHECKED)
    write_run(tmp_path / "a", with_model(make_record("full", n=N_CHECKED), revision="a"), base)
    write_run(tmp_path / "b", change(with_model(make_record("lora", n=N_CHECKED, rank=8), revision="a")), base)
    code, data = check_pair(tmp_path)
    assert (code, data["verdict"]) == (4, "not_comparable")
    (task,) = data["tasks"]
    assert any(said in remark for remark in task["remarks"])
    assert (task["difference"], task["n"], task["verdict"]) == (None, 0, "not_comparable")


def test_a_metric_of_no_stated_direction_is_refused(tmp_path: Path) -> None:
    for side, method in (("a", "full"), ("b", "prefix")):
        one = make_record(method, n=N_CHECKED)
        write_run(tmp_path / side, revise(one, quality={"metric": "perplexity"}), shuffled_scores(300, N_CHECKED))
    code, data = check_pair(tmp_path)
    assert code == 4
    assert "does not say whether higher is better" in data["tasks"][0]["remarks"][0]


def test_other_prompts_in_the_same_context_are_refused_and_shown(tmp_path: Path) -> None:
    base = shuffled_scores(300, N_CHECKED)
    write_run(tmp_path / "a", make_record("full", n=N_CHECKED), base)
    write_run(
        tmp_path / "b", make_record("lora", n=N_CHECKED, rank=8), base, prompt=lambda i: f"question {i}" + "!" * (i % 2)
    )
    code, data = check_pair(tmp_path)
    assert code == 4
    assert data["tasks"][0]["remarks"] == [
        "different prompts on 250 items although the context is the same; test-1: "
        "the baseline has «question 1», the candidate «question 1!»"
    ]


def test_another_context_is_another_method_and_is_compared(tmp_path: Path) -> None:
    base = shuffled_scores(300, N_CHECKED)
    write_run(tmp_path / "a", make_record("zero_shot", n=N_CHECKED), base)
    write_run(tmp_path / "b", make_record("rag", n=N_CHECKED), base, prompt=lambda i: f"passage, question {i}")
    assert check_pair(tmp_path)[0] == 0


def test_the_same_answer_with_another_score_is_another_scorer(tmp_path: Path) -> None:
    base = shuffled_scores(300, N_CHECKED)
    judged = {"completion": "billing", "metrics": {"accuracy": 1.0}}
    write_run(tmp_path / "a", make_record("full", n=N_CHECKED), base, **judged)
    write_run(tmp_path / "b", make_record("lora", n=N_CHECKED, rank=8), flip_scores(base, 0, 1), **judged)
    code, data = check_pair(tmp_path)
    assert code == 4
    assert "different scorer: 1 items have the same answer but a different score" in data["tasks"][0]["remarks"][0]
    assert "«billing» scores 1 in the baseline, 0 in the candidate" in data["tasks"][0]["remarks"][0]


def test_one_task_that_cannot_be_compared_is_not_left_out(tmp_path: Path) -> None:
    write_pair(tmp_path, 6, 6)
    write_run(
        tmp_path / "a", make_record("full", n=N_CHECKED, task="squad", data="1" * 64), shuffled_scores(300, N_CHECKED)
    )
    write_run(
        tmp_path / "b",
        make_record("lora", n=N_CHECKED, rank=8, task="squad", data="2" * 64),
        shuffled_scores(300, N_CHECKED),
    )
    code, data = check_pair(tmp_path)
    assert code == 4
    assert {task["task"]: task["verdict"] for task in data["tasks"]} == {
        "squad": "not_comparable",
        "ticket_routing": "no_worse",
    }
