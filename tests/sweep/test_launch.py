"""`harness run`: what runs, what is skipped, what is recorded when things go wrong."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.errors import UserError
from tests.factories import read_records

Run = Callable[..., int]
HANGS = 600
"""Seconds after which a run is taken to hang."""
TRAINED = ("quality", "validation", "training", "inference", "memory", "environment", "config")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def test_a_sweep_fills_records_and_runs_nothing_twice(harness_run: Run, results: Path, capfd: Any) -> None:
    lora = ("-m", "method=lora", "rank=2,4", "training.epochs=1")
    assert harness_run("-m", "method=zero_shot", "rank=2,4") == 0
    assert harness_run(*lora) == 0
    found = read_records(results)
    assert sorted((r["method"], r["rank"]) for r in found) == [("lora", 2), ("lora", 4), ("zero_shot", None)]
    assert {r["status"] for r in found} == {"ok"}
    assert {word for r in found for word in r["overrides"]} >= {"method=lora", "rank=2", "rank=4", "model=tiny"}
    moments = [r["environment"]["finished_at"] for r in found]
    capfd.readouterr()
    assert harness_run(*lora) == 0
    assert "2 same" in capfd.readouterr().out
    assert [r["environment"]["finished_at"] for r in read_records(results)] == moments


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


def test_a_run_after_a_large_one_shows_its_own_peak(harness_run: Run, results: Path) -> None:
    """A sweep whose first model has 370 MB of weights and gradients and whose second has hardly any."""
    assert harness_run("-m", "method=full", "training.epochs=1", "model.shape.intermediate_size=40000,64") == 0
    small, large = sorted(r["memory"]["train"]["allocated"] for r in read_records(results))
    assert small < large / 3


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


def test_a_cell_that_does_not_apply_is_listed_and_not_failed(
    harness_run: Run, results: Path, colours: Path, capfd: Any
) -> None:
    (colours / "corpus.jsonl").unlink()
    assert harness_run("-m", "method=rag,zero_shot") == 0
    assert "1 not applicable" in capfd.readouterr().out
    assert [r["method"] for r in read_records(results)] == ["zero_shot"]


def test_a_killed_run_is_recorded_and_the_rest_goes_on(harness_run: Run, results: Path) -> None:
    killed: list[int] = []

    def kill_the_first_to_train() -> None:
        me = psutil.Process()
        while not killed and time.monotonic() < deadline:
            if len(list(results.glob(".locks/*"))) > 1:  # the run's own, and that of the weights it trains
                runs = [child for child in me.children(recursive=True) if child.ppid() != me.pid]
                youngest = max(runs, key=lambda child: child.create_time())
                youngest.kill()
                killed.append(youngest.pid)
            time.sleep(0.02)

    deadline = time.monotonic() + HANGS
    assassin = threading.Thread(target=kill_the_first_to_train)
    assassin.start()
    epochs = "training.epochs=1000000,1"  # the first ends only if it is killed
    code = harness_run("-m", "method=full", epochs, "training.early_stopping_patience=null")
    deadline = 0.0
    assassin.join()
    assert killed
    assert code == 1
    by_epochs = {r["config"]["training"]["epochs"]: r for r in read_records(results)}
    ended, finished = by_epochs[1_000_000], by_epochs[1]
    assert (ended["status"], finished["status"]) == ("crashed", "ok")
    assert "SIGKILL" in ended["error"]["message"]
    assert ended["environment"]["data_sha256"] == finished["environment"]["data_sha256"]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # of an orphan, until it is reaped
    except psutil.NoSuchProcess:
        return False


def test_a_run_ends_with_the_command_that_started_it(colours: Path, results: Path) -> None:
    overrides = ["method=full", "training.epochs=1000000", "training.early_stopping_patience=null"]
    overrides += [f"results={results}"]
    words = ["task=folder", f"task.path={colours}", "model=tiny", *overrides]
    command = psutil.Popen([sys.executable, "-m", "harness", "run", *words], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + HANGS
    while len(list(results.glob(".locks/*"))) < 2:  # the run's own, and that of the weights it trains
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started = command.children(recursive=True)
    command.kill()
    command.wait()
    assert started
    while any(map(is_alive, started)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (record,) = read_records(results)
    assert record["status"] == "interrupted"
    assert record["error"]["message"] == "the command that started it has ended"


def test_a_failed_run_is_recorded_with_its_reason_and_starts_again(harness_run: Run, results: Path) -> None:
    broken = ("method=lora", "adaptation.peft.target_modules=[no_such_layer]", "training.epochs=1")
    for _ in range(2):
        assert harness_run(*broken) == 1
        (record,) = read_records(results)
        assert record["status"] == "failed"
        assert "no_such_layer" in record["error"]["message"]
        assert "Traceback" in record["error"]["traceback"]
        assert record["quality"] is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=no_such_task"], "task/no_such_task"),
        (["method=no_such_method"], "method/no_such_method"),
        (
            ["method=no_such_method"],
            "few_shot, few_shot_lora, few_shot_nearest, full, full_fp32_master",
        ),
        (["rank=0"], "rank=0: expected a whole number of at least 1"),
        (["method=few_shot", "context.k=50"], "context.k=50"),
        (["max_eval_examples=0"], "max_eval_examples=0"),
        (["measure.latency_requests=-1"], "measure.latency_requests=-1"),
        (["method=lora", "training.learning_rate=[1e-3,1e-4]", "max_validation_examples=0"], "no validation rows"),
        (["method=lora", "training.validation_rows=-1"], "training.validation_rows=-1"),
        (["task=folder", "task.path=/no/such/folder"], "no such folder"),
        (["training.epochs=3"], "epochs"),
        (["contxt=rag"], "contxt"),
        (["experiment=null"], "experiment takes the name of one of its files"),
    ],
)
def test_a_wrong_configuration_is_one_message_and_code_2(
    overrides: list[str], message: str, harness_run: Run, results: Path, capfd: Any
) -> None:
    try:
        code = harness_run(*overrides)
        said = capfd.readouterr().out
    except UserError as mistake:
        code, said = 2, str(mistake)
    assert code == 2
    assert message in said
    assert "Traceback" not in said
    assert not read_records(results)


def test_a_hub_model_without_a_network_says_so(harness_run: Run, results: Path, capfd: Any) -> None:
    assert harness_run("model=hub", "model.id=nobody/nothing") == 1
    (record,) = read_records(results)
    assert "nobody/nothing could not be loaded" in record["error"]["message"]
    assert "needs a network" in capfd.readouterr().out


def test_a_setting_that_some_methods_lack_is_set_for_the_others_and_said(
    harness_run: Run, results: Path, capfd: Any
) -> None:
    assert harness_run("-m", "method=zero_shot,lora", "training.epochs=1", "++context.k=1,2") == 0
    assert "training.epochs=1: left out for zero_shot (no such setting)" in capfd.readouterr().out
    done = {r["method"]: r for r in read_records(results)}
    assert sorted(done) == ["lora", "zero_shot"]
    assert done["lora"]["config"]["training"]["epochs"] == 1
    assert "training.epochs=1" in done["lora"]["overrides"]
    with pytest.raises(UserError, match=r"training\.epochs=1: there is no such setting for zero_shot, rag"):
        harness_run("-m", "method=zero_shot,rag", "training.epochs=1")


def test_hydra_leaves_nothing_behind(harness_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert harness_run("-m", "method=zero_shot", "seed=0,1") == 0
    assert list(here.iterdir()) == []


def test_a_method_in_ones_own_conf_folder_runs(
    harness_run: Run, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (here / "conf" / "method").mkdir(parents=True)
    (here / "conf" / "method" / "ia3.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /adaptation: peft\n  - override /training: sft\n"
        "method: ia3\nadaptation: {peft: {_target_: peft.IA3Config, task_type: CAUSAL_LM,\n"
        "  target_modules: [k_proj, v_proj, down_proj], feedforward_modules: [down_proj]}}\n"
        "training: {learning_rate: 5e-3, epochs: 1}\n"
    )
    monkeypatch.chdir(here)
    assert harness_run("method=ia3") == 0
    (record,) = read_records(results)
    assert (record["method"], record["adaptation"], record["rank"]) == ("ia3", "ia3", None)


def test_other_versions_results_are_reused_only_when_asked(harness_run: Run, results: Path, capfd: Any) -> None:
    assert harness_run("method=zero_shot") == 0
    folder = next(results.rglob("record.json")).parent
    old = folder.rename(folder.with_name(folder.name.split("-")[0] + "-000000"))
    record = json.loads((old / "record.json").read_text())
    (old / "record.json").write_text(json.dumps({**record, "run_id": old.name}))
    assert harness_run("method=zero_shot", "reuse=any") == 0
    assert "made with other versions" in capfd.readouterr().out
    assert harness_run("method=zero_shot") == 0
    assert len(read_records(results)) == 2


def test_a_secret_is_not_written(harness_run: Run, results: Path) -> None:
    assert (
        harness_run("method=rag", "+model.token=hf_abc", "+model.more={secret: hf_abc}", "context.chunk.tokens=64") == 0
    )
    assert "context.chunk.tokens=64" in read_records(results)[0]["overrides"]  # a number of tokens is none
    for path in results.rglob("*"):
        assert not path.is_file() or "hf_abc" not in path.read_text(errors="ignore")


def test_an_item_that_does_not_fit_is_unscored_and_not_wrong(harness_run: Run, results: Path, colours: Path) -> None:
    long = {"id": "long", "text": "a" * 5000, "label": "red", "doc_id": "doc-0"}
    with (colours / "test.jsonl").open("a") as rows:
        rows.write(json.dumps(long) + "\n")
    assert harness_run("method=zero_shot") == 0
    quality = read_records(results)[0]["quality"]
    assert (quality["n"], quality["unscored"]) == (6, 1)


def test_training_where_there_are_no_rows_or_no_documents_does_not_apply(
    harness_run: Run, results: Path, colours: Path, capfd: Any
) -> None:
    (colours / "corpus.jsonl").unlink()
    assert harness_run("method=inject_text") == 0
    assert "no documents to train on" in capfd.readouterr().out
    (colours / "train.jsonl").unlink()
    assert harness_run("-m", "method=lora,few_shot") == 0
    assert "2 not applicable" in capfd.readouterr().out
    assert read_records(results) == []


def test_documents_become_training_rows(harness_run: Run, results: Path) -> None:
    assert harness_run("-m", "method=lora,inject_text,inject_questions", "++training.epochs=1") == 0
    counts = {r["method"]: r["training"]["examples"] for r in read_records(results)}
    assert counts == {"lora": 12, "inject_text": 15, "inject_questions": 15}
