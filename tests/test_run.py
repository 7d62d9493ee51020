"""One run, from data to record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.measurement.meter import LEAST_REQUESTS, Meter
from harness.records.measures import precision
from harness.run import contaminated
from harness.settings import Measure
from tests.commands import Run
from tests.factories import read_records


def test_too_few_requests_are_remarked() -> None:
    few, enough = (Measure(latency_requests=n) for n in (LEAST_REQUESTS - 1, LEAST_REQUESTS))
    assert contaminated(Meter(), few)["latency"] == ["7 requests, fewer than 8"]
    assert "latency" not in contaminated(Meter(), enough)


TRAINED = ("quality", "validation", "training", "inference", "memory", "environment", "config")


@pytest.mark.parametrize(
    "method",
    ["instructed", "few_shot", "rag", "oracle", "full", "lora", "qlora", "prefix", "rag_lora", "few_shot_lora"],
)
def test_every_method_runs_from_data_to_record(method: str, harness_run: Run, results: Path) -> None:
    trained = ["training.epochs=1"] if method not in ("instructed", "few_shot", "rag", "oracle") else []
    assert harness_run(f"method={method}", *trained) == 0
    (record,) = read_records(results)
    assert record["status"] == "ok"
    applies = {name for name in TRAINED if name != "training" or trained}
    assert all(record[name] for name in applies)
    assert record["quality"]["n"] == 6
    assert record["inference"]["latency_ms"]["n"] == 2
    assert (record["retrieval"] is not None) == (record["context"] == "rag")
    assert (record["inference"]["merged"] is not None) == (record["adaptation"] == "lora")
    assert set(record["memory"]) >= ({"load", "infer", "train"} if trained else {"load", "infer"})
    folder = next(results.rglob("record.json")).parent
    predictions = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert [p["id"] for p in predictions] == [f"test-{i}" for i in range(6)]
    assert record["quality"]["value"] == pytest.approx(sum(p["score"] for p in predictions) / 6)
    assert folder.name == record["run_id"]


def test_what_is_not_wanted_is_left_out_and_said(harness_run: Run, results: Path) -> None:
    nothing = ["max_validation_examples=0", "measure.latency_requests=0", "measure.merged_items=0"]
    nothing += ["measure.exact_memory=false"]
    assert harness_run("-m", "method=rag,lora", "++training.epochs=1", *nothing) == 0
    for record in read_records(results):
        assert record["quality"]["n"] == 6
        assert record["validation"] is None
        assert record["inference"]["latency_ms"] is record["inference"]["merged"] is None
        assert record["memory"]["infer"] is None
        assert record["inference"]["peak_memory_bytes"] is None
        remarks = {remark.split(",")[0] for remark in record["contaminated"]["memory"]}
        assert remarks >= {"freed memory was kept", "no single request was made"}
    assert not list(results.rglob("validation.jsonl"))


def test_a_choice_alone_and_no_cached_requests(harness_run: Run, results: Path) -> None:
    assert harness_run("method=zero_shot") == 0
    assert harness_run("method=zero_shot", "measure.free_answers=false", "measure.cached_requests=0") == 0
    whole, brief = sorted(read_records(results), key=lambda r: r["config"]["measure"]["free_answers"], reverse=True)
    assert set(whole["quality"]["metrics"]) - set(brief["quality"]["metrics"]) == {"accuracy_generated"}
    assert whole["inference"]["prefix_cached"]["latency_ms"]["n"] == 2
    assert brief["inference"]["prefix_cached"] is None
    assert brief["inference"]["latency_ms"]["n"] == 2
    assert whole["quality"]["value"] == brief["quality"]["value"]


def test_fewer_rows_choose_the_epoch_and_all_still_answer_validation(harness_run: Run, results: Path) -> None:
    assert harness_run("-m", "method=lora", "training.epochs=1", "training.validation_rows=0,1,3,null") == 0
    trained = [(r["config"]["training"], r["training"]) for r in read_records(results)]
    losses = {how["validation_rows"]: facts["best_validation_loss"] for how, facts in trained}
    assert losses.pop(0) is None
    assert len(set(losses.values())) == 3, "each over other rows"
    assert len({r["validation"]["n"] for r in read_records(results)}) == 1


def test_merging_changes_nothing_but_rounding(harness_run: Run, results: Path) -> None:
    harness_run("method=lora", "training.epochs=1", "training.learning_rate=1e-2")
    merged = read_records(results)[0]["inference"]["merged"]
    assert 0 < merged["largest_logit_difference"] < 1e-3
    assert merged["quality"]["same_answers"] == merged["quality"]["n"] == 2


def test_weights_train_once_for_several_contexts(harness_run: Run, results: Path) -> None:
    assert harness_run("-m", "method=lora", "context=zero_shot,instructed,rag", "training.epochs=1") == 0
    found = read_records(results)
    assert {r["context"] for r in found} == {"zero_shot", "instructed", "rag"}
    assert [r["training"]["shared"] for r in found].count(False) == 1
    assert len({r["training"]["seconds"] for r in found}) == 1
    assert len([p for p in (results / ".weights").iterdir() if p.is_dir()]) == 1


def test_learning_rates_are_tried_on_validation_and_the_choice_is_recorded(harness_run: Run, results: Path) -> None:
    assert harness_run("method=lora", "training.epochs=1", "training.learning_rate=[1e-9,1e-2]") == 0
    (record,) = read_records(results)
    tried = record["training"]["tried"]
    assert set(tried) == {"1e-09", "0.01"}
    best = max(tried.values())
    assert tried[f"{record['training']['learning_rate']:g}"] == best == record["validation"]["value"]
    assert record["training"]["tuning_seconds"] > 0


def test_the_context_of_evaluation_is_validated_whatever_rates_were_tried_in(harness_run: Run, results: Path) -> None:
    rates = "training.learning_rate=[1e-3,1e-2]"
    assert harness_run("method=lora", "context=few_shot", "training.epochs=1", rates) == 0
    (record,) = read_records(results)
    (checked,) = results.glob("**/validation.jsonl")
    prompts = [json.loads(line)["prompt_tokens"] for line in checked.read_text().splitlines()]
    shown_in_training = record["training"]["tokens"] / record["training"]["examples"]
    assert min(prompts) > 2 * shown_in_training  # demonstrations stand in these alone


def test_whatever_is_trained_in_bfloat16_also_answers_in_it(harness_run: Run, results: Path) -> None:
    """The precisions that a GPU has by default: float32 masters in autocast, adapters on a bfloat16 base."""
    mixed = ("training.epochs=1", "training.bf16=true", "model.dtype=float32,bfloat16")
    assert harness_run("-m", "method=full,lora,prefix,qlora", *mixed) == 0
    precisions = {(record["method"], precision(record["config"])) for record in read_records(results)}
    assert precisions == {
        *((method, "float32, bfloat16 autocast") for method in ("full", "lora", "prefix")),
        *((method, "bfloat16") for method in ("full", "lora", "prefix")),
        ("qlora", "4-bit nf4, float32, bfloat16 autocast"),
        ("qlora", "4-bit nf4, bfloat16"),
    }


def test_an_item_that_does_not_fit_is_unscored_and_not_wrong(harness_run: Run, results: Path, colours: Path) -> None:
    long = {"id": "long", "text": "a" * 5000, "label": "red", "doc_id": "doc-0"}
    with (colours / "test.jsonl").open("a") as rows:
        rows.write(json.dumps(long) + "\n")
    assert harness_run("method=zero_shot") == 0
    quality = read_records(results)[0]["quality"]
    assert (quality["n"], quality["unscored"]) == (6, 1)


def test_documents_become_training_rows(harness_run: Run, results: Path) -> None:
    assert harness_run("-m", "method=lora,inject_text,inject_questions", "++training.epochs=1") == 0
    counts = {r["method"]: r["training"]["examples"] for r in read_records(results)}
    assert counts == {"lora": 12, "inject_text": 15, "inject_questions": 15}
