"""The example package: a new PEFT method that works, and a gate that tells it from its two mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.factories import write_rows

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "new_method"
WORKFLOW = ROOT / ".github" / "workflows" / "gate.yaml"
SIZES = {"train": 48, "validation": 4, "test": 160}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as pip installs it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder), str(PACKAGE)], check=True)
    return folder


@pytest.fixture(scope="module")
def span(installed: Path) -> Any:
    sys.path.insert(0, str(installed))
    import span_adapter

    return span_adapter


def load_small() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, num_key_value_heads=2, **shape)).eval()


IDS = torch.arange(20)[None]


def load_adapted(span: Any, *, trained: bool = True, **options: Any) -> Any:
    import peft

    torch.manual_seed(1)
    config = span.SpanConfig(r=4, alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    model = peft.get_peft_model(load_small(), config).eval()
    if trained:
        for name, weight in model.named_parameters():
            if "span_u" in name:
                torch.nn.init.normal_(weight, std=0.2)
    return model


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits  # type: ignore[no-any-return]


def test_training_begins_at_the_base_model_and_changes_the_adapter_alone(span: Any) -> None:
    model = load_adapted(span, trained=False)
    assert torch.equal(logits(model), logits(load_small()))
    assert {name.split(".")[-2] for name, w in model.named_parameters() if w.requires_grad} == {
        "span_v", "span_gain", "span_u",
    }  # fmt: skip
    first = next(weight for name, weight in model.named_parameters() if "span_v" in name)
    torch.testing.assert_close(first @ first.t(), torch.eye(4))
    model(input_ids=IDS, labels=IDS).loss.backward()
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for n, w in model.named_parameters() if "span_u" in n)


def test_merged_saved_and_disabled_it_is_what_it_says(span: Any, tmp_path: Path) -> None:
    import peft

    model = load_adapted(span)
    learned, base = logits(model), logits(load_small())
    assert (learned - base).abs().max() > 0.01
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(peft.PeftModel.from_pretrained(load_small(), str(tmp_path)).eval()), learned)
    model.merge_adapter()
    torch.testing.assert_close(logits(model), learned, atol=1e-5, rtol=1e-4)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model), learned, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits(model.merge_and_unload()), learned, atol=1e-5, rtol=1e-4)


def test_its_mistakes_are_mistakes(span: Any) -> None:
    right, base = logits(load_adapted(span)), logits(load_small())
    assert torch.equal(logits(load_adapted(span, mistake="idle")), base)
    slow = logits(load_adapted(span, mistake="scaled_twice"))
    assert 0 < (slow - base).abs().max() < (right - base).abs().max()
    with pytest.raises(ValueError, match="mistake=none: known are scaled_twice, idle"):
        span.SpanConfig(mistake="none")


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of which even a model of random weights can learn something: nine answers in ten are the same."""
    folder = tmp_path_factory.mktemp("tasks") / "skewed"
    folder.mkdir()
    (folder / "task.yaml").write_text(
        "name: skewed\nabout: Mostly red.\nprobes: behaviour\nprompt: 'Which colour has {{ text }}?'\n"
        "answer: '{{ label }}'\nkind: choice\nchoices: [blue, green, red]\nmetric: accuracy\nmax_new_tokens: 4\n"
    )
    for split, count in SIZES.items():
        labels = ["red" if i % 10 else ("blue", "green")[i // 10 % 2] for i in range(count)]
        rows = [{"id": f"{split}-{i}", "text": f"box {i} of {split}", "label": own} for i, own in enumerate(labels)]
        write_rows(folder / f"{split}.jsonl", rows)
    return folder


def gate(candidate: str, installed: Path, skewed: Path, results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`harness check --run` in the package's folder, on the tiny model; no time decides it."""
    small = ["task=folder", f"task.path={skewed}", "model=tiny", f"results={results}", "training.learning_rate=1e-2"]
    less = ["training.epochs=1", "training.batch_size=4", "measure.latency_requests=0", "gate.seeds=3"]
    command = [sys.executable, "-m", "harness", "check", "--run", "--baseline", "method=lora", "--candidate", candidate]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}
    margins = results.with_name("margins.yaml")
    margins.write_text(
        "metrics: {accuracy: 0.05}\nresources: {training_seconds: 0.99, latency_ms: 0.99, peak_memory: 0.99}\n"
    )
    return subprocess.run(
        [*command, f"--margins={margins}", "experiment=gate", *small, *less, *words],
        cwd=PACKAGE, env=environment, capture_output=True, text=True,
    )  # fmt: skip


def test_the_gate_passes_the_method_and_stops_its_broken_variant(installed: Path, skewed: Path, tmp_path: Path) -> None:
    done = gate("method=span", installed, skewed, tmp_path / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "method=span against method=lora\nItems: skewed 160. Training seeds: 3. Margin: 5 points." in done.stdout
    assert "Runs: 6, 6 of them still to be made." in done.stdout
    assert "verdict: no_worse" in done.stdout
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("record.json")}
    assert len(made) == 6
    broken = gate("method=span_idle", installed, skewed, tmp_path / "results", "--json")
    assert broken.returncode == 1, broken.stdout + broken.stderr
    assert "Runs: 6, 3 of them still to be made." in broken.stderr
    found = json.loads(broken.stdout)
    assert found["verdict"] == "worse"
    assert found["tasks"][0]["candidate_method"] == "span_idle r8"
    assert found["tasks"][0]["margin"] == 0.05
    assert found["tasks"][0]["difference"] < -0.1
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_a_task_on_which_a_side_cannot_run_is_left_out_and_what_is_not_trained_is_run_once(tmp_path: Path) -> None:
    """Both sides are prompts: one run whatever the seed. ticket_routing has no documents."""
    words = ["task=ticket_routing,handbook_qa", "model=tiny", "experiment=gate"]
    less = [f"results={tmp_path / 'results'}", "measure.latency_requests=0", "max_eval_examples=12"]
    sides = ["--baseline", "method=zero_shot", "--candidate", "method=rag,context.k=2"]
    done = subprocess.run(
        [sys.executable, "-m", "harness", "check", "--run", *sides, *words, *less, "--json"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (1, 3), done.stderr
    assert "Items: handbook_qa 12. Training seeds: 1." in done.stderr
    (task,) = json.loads(done.stdout)["tasks"]
    assert task["n"] == 12
    assert len(list((tmp_path / "results").rglob("record.json"))) == 2


@pytest.mark.parametrize(
    "words, said",
    [
        (["seed=1"], "gate.seeds=N sets their number"),
        (["gate.margin=2"], "gate.margin=2: expected a share between 0 and 1"),
        (["gate.sedes=2"], "gate"),
        (["method=lora,qlora"], "several methods on"),
        (["method=lora", "adaptation.peft._target_=peft.NoSuchConfig"], "_target_"),
    ],
)
def test_a_mistake_in_a_gate_is_a_sentence(
    words: list[str], said: str, installed: Path, skewed: Path, tmp_path: Path
) -> None:
    done = gate("rank=4", installed, skewed, tmp_path / "results", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_the_workflow_runs_the_commands_of_the_page() -> None:
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["gate"]["steps"]
    ran = " ".join(step["run"] for step in steps if "run" in step)
    page = " ".join((ROOT / "docs" / "check.md").read_text().split())
    command = "harness check --run --baseline method=lora --candidate method=span experiment=gate"
    assert command in " ".join(ran.split())
    assert command in page
    assert "--markdown comment.md --junit junit.xml" in " ".join(ran.split())
    assert "pip install --no-deps --editable ." in ran
