"""What following a rule of choosing costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.decide import Limits, decide, regret
from harness.records.reading import load_records
from harness.report import write_report
from tests.commands import decide_one
from tests.factories import (
    make_record,
    right_then_wrong,
    write_answered_runs,
    write_behaviour_task,
    write_knowledge_task,
    write_results,
)


def test_regret_of_the_rule_and_of_rules_that_measure_nothing(tmp_path: Path) -> None:
    cohorts = [
        decision.cohort
        for root in (write_behaviour_task(tmp_path / "a"), write_knowledge_task(tmp_path / "b"))
        for decision in decide(root, Limits())
    ]
    found = {one.rule: one for one in regret.over_tasks([regret.of_task(cohort) for cohort in cohorts])}
    rule, lora, slogan = found[regret.RULE], found[regret.LORA], found[regret.SLOGAN]
    assert (rule.within, rule.least, rule.tasks) == (1.0, 1.0, 2)
    assert rule.mean <= 0.01
    assert (lora.within, lora.least) == (0.5, 0.0), "as good as full on the one task, 60 points under on the other"
    assert lora.mean == pytest.approx((0.01 + 0.60) / 2)
    assert slogan.mean == pytest.approx((0.0 + 0.40) / 2), "full is the best there, plain RAG 40 points under"


def test_without_answers_there_is_no_regret(tmp_path: Path) -> None:
    write_results(tmp_path, make_record("zero_shot", 0.2, 0.2), make_record("full", 0.8, 0.8))
    assert regret.of_task(decide_one(str(tmp_path)).cohort) == {}


def test_a_report_on_several_tasks_says_how_such_choices_fare(tmp_path: Path) -> None:
    write_behaviour_task(tmp_path / "results" / "a")
    for run in load_records(write_knowledge_task(tmp_path / "results" / "b")):
        (run.folder / "record.json").write_text(replace(run.record, task="handbook_qa").to_json())
    page = write_report(str(tmp_path / "results"), tmp_path / "report").page.read_text()
    table = page.split("## How such a choice fares")[1].split("## Provenance")[0]
    assert "| harness decide | 2 | 100% | 100% | 0.5 |" in table
    assert "| always LoRA | 2 | 50% | 0% | 30.5 |" in table
    alone = write_report(str(tmp_path / "results" / "a"), tmp_path / "alone").page.read_text()
    assert "How such a choice fares" not in alone


def test_a_task_counts_once_however_many_cohorts_it_has(tmp_path: Path) -> None:
    write_behaviour_task(tmp_path / "results" / "a")
    fewer = [
        (make_record("zero_shot", n=50), right_then_wrong(20, 50), right_then_wrong(20)),
        (make_record("lora", n=50, rank=8), right_then_wrong(20, 50), right_then_wrong(20)),
    ]
    write_answered_runs(tmp_path / "results" / "b", fewer)
    page = write_report(str(tmp_path / "results"), tmp_path / "report").page.read_text()
    assert "What can be compared" in page
    assert "How such a choice fares" not in page, "that is one task"


def test_rules_are_compared_over_the_tasks_that_all_can_be_applied_to() -> None:
    full = {regret.RULE: (1.0, 0.0), regret.LORA: (0.0, 0.2), regret.SLOGAN: (0.0, 0.1)}
    found = regret.over_tasks([full, {regret.RULE: (0.0, 0.5)}])
    assert {(one.rule, one.tasks, one.within) for one in found} == {
        (regret.RULE, 1, 1.0), (regret.LORA, 1, 0.0), (regret.SLOGAN, 1, 0.0),
    }  # fmt: skip
    assert [one.rule for one in regret.over_tasks([{regret.RULE: (1.0, 0.0)}])] == [regret.RULE]


def test_always_lora_is_lora_at_the_rank_that_validation_prefers(tmp_path: Path) -> None:
    runs = [
        (make_record("zero_shot"), right_then_wrong(20), right_then_wrong(20)),
        (make_record("lora", rank=4), right_then_wrong(80), right_then_wrong(80)),
        (make_record("lora", rank=64), right_then_wrong(40), right_then_wrong(40)),
    ]
    found = regret.of_task(decide_one(write_answered_runs(tmp_path, runs)).cohort)
    assert found[regret.LORA] == (1.0, 0.0)
