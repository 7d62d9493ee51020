"""What a team can spend, and what that changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness import quantities
from harness.decide import Limits, limits
from harness.decide.choose import month_seconds
from harness.errors import UserError
from harness.records.reading import load_records
from tests.commands import decide_one, run_decide
from tests.factories import MIB, make_record, revise, right_then_wrong, write_answered_runs, write_behaviour_task


@pytest.mark.parametrize(
    ("limits", "expected", "out"),
    [
        (Limits(memory=950 * MIB), "prefix", {"full", "lora r8"}),
        (Limits(latency=0.050), "full", {"rag", "lora r8", "prefix"}),
        (Limits(training=700), "prefix", {"full", "lora r8"}),
        (Limits(memory=500 * MIB), "zero_shot", {"rag", "full", "lora r8", "prefix"}),
    ],
)
def test_a_limit_changes_the_recommendation(tmp_path: Path, limits: Limits, expected: str, out: set[str]) -> None:
    root = write_behaviour_task(tmp_path)
    took = {"full": 900.0, "lora": 800.0, "prefix": 500.0}
    for run in load_records(root):
        if run.record.training:
            training = {"seconds": took[run.record.method], "tuning_seconds": 0.0}
            (run.folder / "record.json").write_text(revise(run.record, training=training).to_json())
    found = decide_one(root, limits)
    assert found.strategy.row.name == expected
    assert {excluded.row.name for excluded in found.excluded} == out


def test_many_requests_are_worth_a_faster_answer(tmp_path: Path) -> None:
    runs = [
        (make_record("few_shot", memory=500, p50=400), right_then_wrong(80), right_then_wrong(80)),
        (make_record("full", memory=2600, p50=50, seconds=600), right_then_wrong(80), right_then_wrong(80)),
    ]
    root = write_answered_runs(tmp_path, runs)
    assert decide_one(root).strategy.row.name == "few_shot", (
        "without a number of requests the smallest memory is cheapest"
    )
    assert decide_one(root, Limits(requests=100)).strategy.row.name == "few_shot"
    assert decide_one(root, Limits(requests=1e6)).strategy.row.name == "full"


def test_facts_that_change_do_not_belong_into_weights(tmp_path: Path) -> None:
    runs = [
        (make_record("rag", memory=540, probes="knowledge"), right_then_wrong(60), right_then_wrong(60)),
        (make_record("lora", memory=900, rank=8, probes="knowledge"), right_then_wrong(80), right_then_wrong(80)),
    ]
    root = write_answered_runs(tmp_path, runs)
    assert decide_one(root).strategy.row.name == "lora r8"
    assert decide_one(root, Limits(changes=52 / 12)).strategy.row.name == "rag"


def test_what_is_private_does_not_belong_into_weights_and_the_source_of_that_is_said(tmp_path: Path) -> None:
    runs = [
        (make_record("few_shot", memory=540), right_then_wrong(60), right_then_wrong(60)),
        (make_record("lora", memory=900, rank=8), right_then_wrong(80), right_then_wrong(80)),
    ]
    root = write_answered_runs(tmp_path, runs)
    assert "Carlini" not in run_decide(root).output
    done = run_decide(root, "--private").output
    assert "recommended   few_shot" in done
    assert "lora r8 is out: private rows are in its weights" in done
    assert "Carlini et al. 2021" in done


def test_what_is_meant_by_cheapest_is_said_with_the_choice(tmp_path: Path) -> None:
    runs = [
        (make_record(method, memory=memory), right_then_wrong(50), right_then_wrong(50))
        for method, memory in (("rag", 400), ("full", 2600))
    ]
    root = write_answered_runs(tmp_path, runs)
    assert "cheapest means the least peak memory" in run_decide(root).output
    monthly = run_decide(root, "--requests-per-month", "5e4", "--facts-change", "weekly").output
    assert "the least machine time for a month of 50,000 requests, including set-up" in monthly
    assert "repeated when facts change" in monthly


def test_nothing_fits_is_exit_code_3_with_the_smallest_need(tmp_path: Path) -> None:
    done = run_decide(write_behaviour_task(tmp_path), "--max-memory", "1MB")
    assert done.exit_code == 3
    assert "nothing fits  zero_shot comes nearest, with memory 420 MiB" in done.output


@pytest.mark.parametrize(
    ("text", "bytes"),
    [("24GB", 24073 * 2**20), ("24 GiB", 24 * 2**30), ("1.5 GiB", 1.5 * 2**30), ("2GB", 2e9), ("900mb", 9e8)],
)
def test_a_size_has_a_unit_and_that_of_a_common_gpu_is_what_can_be_used_of_it(text: str, bytes: float) -> None:
    assert quantities.memory("--x", text) == bytes


@pytest.mark.parametrize(("text", "seconds"), [("200ms", 0.2), ("2h", 7200), ("1.5 min", 90)])
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    assert quantities.seconds("--x", text) == seconds


@pytest.mark.parametrize("text", ["24", "GB", "1 lightyear", "-3GB"])
def test_what_is_no_limit_is_said(text: str) -> None:
    with pytest.raises(UserError, match="expected a number with one of"):
        quantities.memory("--max-memory", text)


def test_the_nearest_is_the_one_that_breaks_its_limit_by_least(tmp_path: Path) -> None:
    runs = [
        (make_record("rag", memory=400, p50=500), right_then_wrong(50), right_then_wrong(50)),
        (make_record("full", memory=2600, p50=80), right_then_wrong(50), right_then_wrong(50)),
    ]
    done = run_decide(write_answered_runs(tmp_path, runs), "--max-latency", "40ms")
    assert "nothing fits  full comes nearest, with latency 80 ms" in done.output


def test_training_that_is_not_known_breaks_its_limit(tmp_path: Path) -> None:
    trained = make_record("lora", rank=8)
    unknown = revise(trained, training={"seconds": None})
    root = write_answered_runs(
        tmp_path,
        [
            (unknown, right_then_wrong(50), right_then_wrong(50)),
            (make_record("zero_shot"), right_then_wrong(20), right_then_wrong(20)),
        ],
    )
    found = decide_one(root, Limits(training=1e9))
    assert found.strategy.row.name == "zero_shot"
    assert [excluded.why for excluded in found.excluded] == [("training unknown",)]


def test_what_limits_cost_is_said_and_the_best_is_that_within_them(tmp_path: Path) -> None:
    done = run_decide(write_behaviour_task(tmp_path), "--max-memory", "900MiB").output
    assert "the highest validation value within the limits" in done
    assert "no other method comes within 2 points of prefix" in done
    assert "the limits cost 20.0 points on validation: full is that much better" in done


def test_documents_that_change_are_indexed_again_and_their_reader_is_not_trained_again() -> None:
    made = make_record("rag_lora", rank=8, probes="knowledge", retrieval={"index_seconds": 3.0})
    never, weekly = (month_seconds(made, Limits(requests=0, changes=changes)) for changes in (0.0, 4.0))
    assert weekly - never == pytest.approx(4 * 3.0)
    learned = make_record("lora", rank=8, probes="knowledge")
    never, yearly = (month_seconds(learned, Limits(requests=0, changes=changes)) for changes in (0.0, 0.5))
    assert yearly == pytest.approx(1.5 * never)


def test_a_month_costs_what_its_requests_take_on_average() -> None:
    made = make_record("zero_shot", p50=100)
    made = revise(made, inference={"latency_ms": {"p50": 100, "mean": 300}})
    assert month_seconds(made, Limits(requests=10)) == pytest.approx(3.0)
    assert limits.median_seconds(made) == pytest.approx(0.1)


def test_facts_that_change_once_a_year_put_nothing_out(tmp_path: Path) -> None:
    runs = [
        (make_record("rag", memory=540, probes="knowledge"), right_then_wrong(60), right_then_wrong(60)),
        (make_record("lora", memory=900, rank=8, probes="knowledge"), right_then_wrong(80), right_then_wrong(80)),
    ]
    root = write_answered_runs(tmp_path, runs)
    private = ("--private", "--facts-change")
    assert "belong in documents" not in run_decide(root, *private, "yearly").output
    assert "belong in documents" in run_decide(root, *private, "weekly").output


def test_a_price_is_said_with_or_without_a_number_of_requests(tmp_path: Path) -> None:
    root = write_answered_runs(
        tmp_path, [(make_record("zero_shot", p50=100), right_then_wrong(50), right_then_wrong(50))]
    )
    for run in load_records(root):
        inference = {"latency_ms": {"p50": 100, "mean": 3600}}
        (run.folder / "record.json").write_text(replace(run.record, inference=inference).to_json())
    assert "2.5 for its set-up and 1,000 requests" in run_decide(root, "--gpu-hour", "2.5").output
    assert (
        "25.00 in the first month for 10,000"
        in run_decide(root, "--gpu-hour", "2.5", "--requests-per-month", "1e4").output
    )


@pytest.mark.parametrize("option", ["--requests-per-month", "--gpu-hour"])
@pytest.mark.parametrize("value", ["-1", "inf", "nan"])
def test_what_is_no_number_of_requests_and_no_price_is_refused(tmp_path: Path, option: str, value: str) -> None:
    done = run_decide(write_behaviour_task(tmp_path), option, value)
    assert isinstance(done.exception, UserError) or done.exit_code == 2


def test_training_that_is_not_known_is_not_cheap(tmp_path: Path) -> None:
    trained = make_record("lora", memory=400, p50=50, rank=8)
    unknown = revise(trained, training={"seconds": None, "tuning_seconds": None})
    root = write_answered_runs(
        tmp_path,
        [
            (unknown, right_then_wrong(50), right_then_wrong(50)),
            (make_record("few_shot", p50=60), right_then_wrong(50), right_then_wrong(50)),
        ],
    )
    assert decide_one(root, Limits(requests=10)).strategy.row.name == "few_shot"
    (task,) = json.loads(run_decide(root, "--requests-per-month", "10", "--json").output)["tasks"]
    assert task["costs"]["lora r8"]["training_seconds"] is None
    assert task["costs"]["lora r8"]["month_seconds"] is None


def test_what_a_limit_rules_out_is_not_proposed(tmp_path: Path) -> None:
    root = write_answered_runs(
        tmp_path,
        [(make_record(m), right_then_wrong(n), right_then_wrong(n)) for m, n in (("zero_shot", 20), ("few_shot", 60))],
    )
    assert "method=lora" in run_decide(root).output
    assert "method=lora" not in run_decide(root, "--private").output


def test_weights_that_would_learn_changing_facts_are_not_proposed(tmp_path: Path) -> None:
    runs = [
        (make_record(m, probes="knowledge"), right_then_wrong(n), right_then_wrong(n))
        for m, n in (("zero_shot", 10), ("few_shot", 11))
    ]
    root = write_answered_runs(tmp_path, runs)
    assert "method=lora" in run_decide(root).output
    done = run_decide(root, "--facts-change", "weekly").output
    assert "method=lora" not in done
    assert "method=rag," in done
