"""`harness run`: what runs, what is skipped, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from tests.commands import Run
from tests.factories import read_records


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


def test_a_cell_that_does_not_apply_is_listed_and_not_failed(
    harness_run: Run, results: Path, colours: Path, capfd: Any
) -> None:
    (colours / "corpus.jsonl").unlink()
    assert harness_run("-m", "method=rag,zero_shot") == 0
    assert "1 not applicable" in capfd.readouterr().out
    assert [r["method"] for r in read_records(results)] == ["zero_shot"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=no_such_task"], "task/no_such_task"),
        (["method=no_such_method"], "method/no_such_method"),
        (
            ["method=no_such_method"],
            "few_shot, few_shot_lora, few_shot_nearest, full, full_bf16",
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
