"""Training through TRL: what is learned from, what is kept, what is counted."""

import json
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness.adaptation import peft_model
from harness.adaptation.batches import Layout, Rows
from harness.adaptation.peft_model import parameters, save
from harness.adaptation.train import CompletionTrainer, completion_loss, optimizer_class, train
from harness.errors import Diverged
from harness.measurement.flops import Matrices
from harness.measurement.meter import Meter
from harness.models import loading
from harness.records.record import Training
from harness.settings import Adaptation
from harness.stats import summary
from tests.clock import Clock
from tests.factories import MIB
from tests.tiny_model import LORA, NF4, SFT, TINY

PREFIX = {"_target_": "peft.PrefixTuningConfig", "num_virtual_tokens": 4, "task_type": "CAUSAL_LM"}
FROM_TEXT = {"_target_": "peft.initialize_kv_prefix_from_text", "text": "Read with care what is asked."}
ADALORA = {
    "_target_": "peft.AdaLoraConfig",
    "init_r": 6,
    "target_r": 2,
    "tinit": 1,
    "tfinal": 1,
    "deltaT": 1,
    "total_step": 6,
    "target_modules": ["q_proj"],
    "task_type": "CAUSAL_LM",
}
ADAPTATIONS = {
    "full": Adaptation(None, None, None, SFT),
    "lora": Adaptation(None, LORA, None, SFT),
    "qlora": Adaptation(NF4, LORA, None, SFT),
    "prefix": Adaptation(None, PREFIX, FROM_TEXT, SFT),
    "adalora": Adaptation(None, ADALORA, None, SFT),
}


def train_on(base: loading.Base, rows: tuple[Rows, Rows], rate: float = 1e-2, **changes: Any) -> Training:
    return train(base, *rows, replace(SFT, **changes), rate, 0, Meter(), lambda done, total: None)


def parameter_values(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("name", sorted(set(ADAPTATIONS) - {"adalora"}))  # PEFT cannot load an earlier epoch's ranks
def test_training_lowers_the_loss_and_moves_only_what_it_may(name: str, rows: tuple[Rows, Rows]) -> None:
    adaptation = ADAPTATIONS[name]
    assert adaptation.name == name
    base = peft_model.attach(adaptation, TINY)
    before = parameter_values(base.model)
    trainable = {n for n, p in base.model.named_parameters() if p.requires_grad}
    first = train_on(base, rows, max_steps=1, rate=0.0)
    facts = train_on(base, rows, epochs=6, rate=0.3 if name == "prefix" else 1e-2)
    moved = {n for n, value in parameter_values(base.model).items() if not torch.equal(value, before[n])}
    assert moved
    assert moved <= trainable
    assert facts.best_validation_loss < first.best_validation_loss
    assert facts.trainable_parameters == parameters(base.model)[0] > 0
    assert (facts.total_parameters > facts.trainable_parameters) == (name != "full")
    assert facts.seconds > 0
    assert facts.validation_seconds > 0


def test_what_is_counted(rows: tuple[Rows, Rows]) -> None:
    facts = train_on(peft_model.attach(ADAPTATIONS["lora"], TINY), rows, early_stopping_patience=None)
    assert (facts.steps, facts.examples) == (6, 12)
    assert facts.tokens == 2 * sum(map(len, rows[0].input_ids))


@pytest.mark.parametrize("name", ["full", "lora", "prefix"])
def test_saved_weights_answer_as_the_trained_model_did(name: str, rows: tuple[Rows, Rows], tmp_path: Path) -> None:
    adaptation = ADAPTATIONS[name]
    base = peft_model.attach(adaptation, TINY)
    train_on(base, rows)
    assert save(base, tmp_path) > 0
    restored = peft_model.restore(adaptation, TINY, tmp_path)
    ids = torch.tensor([rows[1].input_ids[0]])
    with torch.no_grad():
        logits = [b.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for b in (base, restored)]
    assert torch.allclose(*logits, atol=1e-5)


def test_the_best_epoch_is_kept_and_training_stops_when_it_gets_no_better(rows: tuple[Rows, Rows]) -> None:
    """At a rate so high that validation soon gets worse."""
    base = peft_model.attach(ADAPTATIONS["full"], TINY)
    facts = train_on(base, rows, rate=0.3, epochs=30, max_grad_norm=100.0, early_stopping_patience=2)
    again = train_on(base, rows, rate=0.0, max_steps=1)
    assert facts.steps < 90
    assert again.best_validation_loss == pytest.approx(facts.best_validation_loss, rel=1e-3)


def test_a_loss_that_is_no_number_is_a_divergence(rows: tuple[Rows, Rows]) -> None:
    base = peft_model.attach(ADAPTATIONS["full"], TINY)
    with torch.no_grad():
        base.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="not finite"):
        train_on(base, rows, max_steps=2)


def loss_and_gradients(base: loading.Base, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    """Of the loss as it is defined: logits everywhere, those after which nothing is learned ignored."""
    base.model.zero_grad()
    labels, inputs = batch["labels"], {n: v for n, v in batch.items() if n != "labels"}
    columns = (labels != -100).any(0).nonzero().flatten()
    loss = completion_loss(base.model, inputs, labels, columns)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in base.model.named_parameters() if p.grad is not None}


@torch.enable_grad()
def defined_loss(base: loading.Base, rows: Rows) -> tuple[float, dict[str, torch.Tensor]]:
    """The same, row by row, from the model's own logits."""
    base.model.zero_grad()
    total = torch.zeros(())
    for ids, labels in zip(rows.input_ids, rows.labels, strict=True):
        tokens = torch.tensor([ids])
        logits = base.model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0, -len(ids) : -1]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), reduction="sum")
    total.backward()
    return total.item(), {n: p.grad.clone() for n, p in base.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("layout", ["in one row", "padded"])
@pytest.mark.parametrize("name", ["full", "lora", "prefix"])
def test_neither_layout_changes_the_loss_or_a_gradient(name: str, layout: str, rows: tuple[Rows, Rows]) -> None:
    base = peft_model.attach(ADAPTATIONS[name], TINY)
    base.model.eval()
    text = [[7, 8, 9, 10, 11], [12] * 40]
    mixed = Rows(rows[0].input_ids[:3], rows[0].labels[:3]) + Rows(text, text)  # learned from the first token on, too
    always = Matrices(frozen=1, trained=0, head=0, trains_head=False, attention_width=0)
    matrices = always if layout == "in one row" and name != "prefix" else None
    batch = Layout(0, matrices)(list(mixed.dataset()))
    assert (len(batch["input_ids"]) == 1) == (matrices is not None)
    loss, found = loss_and_gradients(base, batch)
    expected_loss, expected = defined_loss(base, mixed)
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert found.keys() == expected.keys()
    for parameter, gradient in found.items():
        assert torch.allclose(gradient, expected[parameter], atol=1e-3), parameter


def test_validation_weighs_every_token_the_same(rows: tuple[Rows, Rows]) -> None:
    base = peft_model.attach(ADAPTATIONS["full"], TINY)
    unseen = Rows(rows[1].input_ids[:3], rows[1].labels[:3]) + Rows([[9] * 30], [[9] * 30])
    facts = train(base, rows[0], unseen, replace(SFT, batch_size=3, epochs=1), 0.0, 0, Meter(), lambda *_: None)
    learned = sum(label != -100 for labels in unseen.labels for label in labels[1:])
    assert facts.best_validation_loss == pytest.approx(defined_loss(base, unseen)[0] / learned, rel=1e-4)


def test_adalora_moves_its_rank_budget_through_its_own_hook(rows: tuple[Rows, Rows]) -> None:
    base = peft_model.attach(ADAPTATIONS["adalora"], TINY)
    train_on(base, rows, epochs=2, early_stopping_patience=None)
    assert base.model.peft_config["default"].rank_pattern


def test_a_prefix_starts_from_its_text_and_not_from_chance() -> None:
    starts = [peft_model.attach(ADAPTATIONS["prefix"], TINY) for _ in range(2)]
    first, second = (s.model.prompt_encoder["default"].embedding.weight for s in starts)
    assert torch.equal(first, second)


def test_an_optimizer_may_be_a_target(rows: tuple[Rows, Rows]) -> None:
    base = peft_model.attach(ADAPTATIONS["lora"], TINY)
    before = json.dumps({n: p.sum().item() for n, p in base.model.named_parameters() if p.requires_grad})
    train_on(base, rows, optimizer={"_target_": "torch.optim.SGD", "momentum": 0.9})
    assert before != json.dumps({n: p.sum().item() for n, p in base.model.named_parameters() if p.requires_grad})


def test_adamw_steps_in_one_kernel_on_any_device() -> None:
    kind, options = optimizer_class(SFT, 1e-3)
    assert (kind, options["fused"]) == (torch.optim.AdamW, True)
    assert "fused" not in optimizer_class(replace(SFT, optimizer="sgd"), 1e-3)[1]


def train_with_validation(meter: Meter) -> Training:
    """A few steps of LoRA on the tiny model, validated after each epoch."""
    base = peft_model.attach(Adaptation(None, LORA, None, SFT), TINY)
    rows = Rows([[5, 6, 7, 8, 9, 10]] * 8, [[-100, -100, 7, 8, 9, 10]] * 8)
    return train(base, rows, rows, SFT, 1e-3, 0, meter, lambda done, total: None)


def test_seconds_are_of_steps_and_those_of_validation_saving_and_data_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("harness.adaptation.train.now", clock)
    monkeypatch.setattr("harness.adaptation.train.mark", clock)

    def let_pass(owner: type, method: str, seconds: float) -> None:
        genuine = getattr(owner, method)

        def slow(*args: Any, **options: Any) -> Any:
            clock.advance(seconds)
            return genuine(*args, **options)

        monkeypatch.setattr(owner, method, slow)

    let_pass(CompletionTrainer, "training_step", 1.0)
    let_pass(CompletionTrainer, "evaluate", 100.0)
    let_pass(CompletionTrainer, "_save_checkpoint", 1_000.0)
    let_pass(Rows, "dataset", 10_000.0)
    let_pass(CompletionTrainer, "get_batch_samples", 100_000.0)
    facts = train_with_validation(Meter())
    assert facts.steps == 4
    assert facts.step_ms == summary([1_000.0] * 4)
    assert facts.first_step_ms == 1_000.0
    assert (facts.seconds, facts.validation_seconds, facts.save_seconds) == (4.0, 200.0, 2_000.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="resident memory is the CPU's measure")
def test_what_validation_allocates_is_not_trainings_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, size = CompletionTrainer.evaluate, 400 * MIB
    monkeypatch.setattr(CompletionTrainer, "evaluate", lambda *a, **k: (torch.ones(size // 4), evaluate(*a, **k))[1])
    meter = Meter()
    train_with_validation(meter)
    assert 0 < meter.peaks["train"].allocated < size / 2


class Waits(TorchDispatchMode):
    """Operations that would wait for a GPU: those whose result the program reads."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            self.seen.append("".join(traceback.format_stack(limit=12)))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("peft", [None, LORA], ids=["full", "lora"])
def test_a_step_reads_nothing_from_the_device_but_what_transformers_checks(
    monkeypatch: pytest.MonkeyPatch, peft: dict[str, Any] | None
) -> None:
    waits = Waits()
    genuine = CompletionTrainer.training_step

    def watched(*args: Any, **options: Any) -> Any:
        with waits:
            return genuine(*args, **options)

    monkeypatch.setattr(CompletionTrainer, "training_step", watched)
    base = peft_model.attach(Adaptation(None, peft, None, SFT), TINY)
    rows = Rows([[5, 6, 7, 8, 9, 10]] * 8, [[-100, -100, 7, 8, 9, 10]] * 8)
    train(base, rows, rows, SFT, 1e-3, 0, Meter(), lambda done, total: None)
    ours = [stack for stack in waits.seen if "find_packed_sequence_indices" not in stack]
    assert not ours, ours[0]
    assert len(waits.seen) <= 4  # transformers' own check, once a step
