"""A decision as text, JSON and pages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.reading import load_records
from tests.commands import run_decide
from tests.factories import (
    make_record,
    revise,
    right_then_wrong,
    write_answered_runs,
    write_behaviour_task,
    write_knowledge_task,
)


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
    text = page.read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "zero_shot" in text


def test_a_decision_as_a_page_for_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "deep" / "page.html"
    run_decide(write_behaviour_task(tmp_path / "results"), "--html", str(page))
    assert page.read_text().startswith("<!doctype html>")
    assert "lora r8" in page.read_text()


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
