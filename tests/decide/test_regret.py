"""What following a rule of choosing costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.decide import Limits, decide, regret
from harness.records.reading import load_records
from harness.report import write_report
from tests.deciding import answered, behaviour, first, knowledge, only
from tests.invented import record, store


def test_regret_of_the_rule_and_of_rules_that_measure_nothing(tmp_path: Path) -> None:
    cohorts = [
        decision.cohort
        for root in (behaviour(tmp_path / "a"), knowledge(tmp_path / "b"))
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
    store(tmp_path, record("zero_shot", 0.2, 0.2), record("full", 0.8, 0.8))
    assert regret.of_task(only(str(tmp_path)).cohort) == {}


def test_a_report_on_several_tasks_says_how_such_choices_fare(tmp_path: Path) -> None:
    behaviour(tmp_path / "results" / "a")
    for run in load_records(knowledge(tmp_path / "results" / "b")):
        (run.folder / "record.json").write_text(replace(run.record, task="handbook_qa").to_json())
    page = write_report(str(tmp_path / "results"), tmp_path / "report").page.read_text()
    table = page.split("## How such a choice fares")[1].split("## Provenance")[0]
    assert "| harness decide | 2 | 100% | 100% | 0.5 |" in table
    assert "| always LoRA | 2 | 50% | 0% | 30.5 |" in table
    alone = write_report(str(tmp_path / "results" / "a"), tmp_path / "alone").page.read_text()
    assert "How such a choice fares" not in alone


def test_a_task_counts_once_however_many_cohorts_it_has(tmp_path: Path) -> None:
    behaviour(tmp_path / "results" / "a")
    fewer = [
        (record("zero_shot", n=50), first(20, 50), first(20)),
        (record("lora", n=50, rank=8), first(20, 50), first(20)),
    ]
    answered(tmp_path / "results" / "b", fewer)
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
        (record("zero_shot"), first(20), first(20)),
        (record("lora", rank=4), first(80), first(80)),
        (record("lora", rank=64), first(40), first(40)),
    ]
    found = regret.of_task(only(answered(tmp_path, runs)).cohort)
    assert found[regret.LORA] == (1.0, 0.0)
