"""Training through TRL: what is learned from, what is kept, what is counted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import models
from harness.adaptation import Adaptation, parameters, save
from harness.contexts import bind
from harness.documents import Passage
from harness.errors import UserError
from harness.measure import Meter
from harness.prompts import Encoder
from harness.tasks import load_task
from harness.training import Diverged, Rows, train
from tests.test_answering import NF4, TINY

SFT: dict[str, Any] = {
    "epochs": 2,
    "max_steps": -1,
    "batch_size": 4,
    "gradient_accumulation_steps": 1,
    "gradient_checkpointing": False,
    "max_length": 2048,
    "warmup": 0.1,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "early_stopping_patience": 2,
    "optimizer": "adamw_torch",
    "bf16": False,
}
LORA = {
    "_target_": "peft.LoraConfig",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": "all-linear",
    "task_type": "CAUSAL_LM",
}
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


@pytest.fixture
def rows(colours: Path) -> tuple[Rows, Rows]:
    task = load_task(colours)
    context = bind({"name": "zero_shot"}, task, (), seed=0)
    encoder = Encoder(models.load_tokenizer(TINY))
    return tuple(Rows.encode(context, encoder, task.splits[split], 2048) for split in ("train", "validation"))  # type: ignore[return-value]


def learn(base: models.Base, rows: tuple[Rows, Rows], rate: float = 1e-2, **changes: Any) -> dict[str, Any]:
    return train(base, *rows, {**SFT, **changes}, rate, 0, Meter(), lambda done, total: None)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_the_loss_is_on_the_completion_and_its_end_only(rows: tuple[Rows, Rows]) -> None:
    encoder = Encoder(models.load_tokenizer(TINY))
    for inputs, labels in zip(rows[0].input_ids, rows[0].labels, strict=True):
        learned = [token for token in labels if token != -100]
        assert inputs[-len(learned) :] == learned
        assert encoder.decode(learned) in ("red", "green", "blue")
        assert learned[-1] == encoder.end_of_turn


@pytest.mark.parametrize("name", sorted(set(ADAPTATIONS) - {"adalora"}))  # PEFT cannot load an earlier epoch's ranks
def test_training_lowers_the_loss_and_moves_only_what_it_may(name: str, rows: tuple[Rows, Rows]) -> None:
    adaptation = ADAPTATIONS[name]
    assert adaptation.name == name
    base = adaptation.attach(TINY)
    before = weights(base.model)
    trainable = {n for n, p in base.model.named_parameters() if p.requires_grad}
    first = learn(base, rows, max_steps=1, rate=0.0)
    facts = learn(base, rows, epochs=6, rate=0.3 if name == "prefix" else 1e-2)
    moved = {n for n, value in weights(base.model).items() if not torch.equal(value, before[n])}
    assert moved
    assert moved <= trainable
    assert facts["best_validation_loss"] < first["best_validation_loss"]
    assert facts["trainable_parameters"] == parameters(base.model)[0] > 0
    assert (facts["total_parameters"] > facts["trainable_parameters"]) == (name != "full")
    assert facts["seconds"] > 0
    assert facts["validation_seconds"] > 0


def test_what_is_counted(rows: tuple[Rows, Rows]) -> None:
    facts = learn(ADAPTATIONS["lora"].attach(TINY), rows, early_stopping_patience=None)
    assert (facts["steps"], facts["examples"]) == (6, 12)
    assert facts["tokens"] == 2 * sum(map(len, rows[0].input_ids))


@pytest.mark.parametrize("name", ["full", "lora", "prefix"])
def test_saved_weights_answer_as_the_trained_model_did(name: str, rows: tuple[Rows, Rows], tmp_path: Path) -> None:
    adaptation = ADAPTATIONS[name]
    base = adaptation.attach(TINY)
    learn(base, rows)
    assert save(base, tmp_path) > 0
    restored = adaptation.restore(TINY, tmp_path)
    ids = torch.tensor([rows[1].input_ids[0]])
    with torch.no_grad():
        logits = [b.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for b in (base, restored)]
    assert torch.allclose(*logits, atol=1e-5)


def test_the_best_epoch_is_kept_and_training_stops_when_it_gets_no_better(rows: tuple[Rows, Rows]) -> None:
    """At a rate so high that validation soon gets worse."""
    base = ADAPTATIONS["full"].attach(TINY)
    facts = learn(base, rows, rate=0.3, epochs=30, max_grad_norm=100.0, early_stopping_patience=2)
    again = learn(base, rows, rate=0.0, max_steps=1)
    assert facts["steps"] < 90
    assert again["best_validation_loss"] == pytest.approx(facts["best_validation_loss"], rel=1e-3)


def test_a_loss_that_is_no_number_is_a_divergence(rows: tuple[Rows, Rows]) -> None:
    base = ADAPTATIONS["full"].attach(TINY)
    with torch.no_grad():
        base.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="not finite"):
        learn(base, rows, max_steps=2)


def test_a_row_that_is_too_long_is_refused_not_cut(colours: Path) -> None:
    task = load_task(colours)
    encoder = Encoder(models.load_tokenizer(TINY))
    with pytest.raises(UserError, match=r"train-0 has \d+ tokens, more than training.max_length=20"):
        Rows.encode(bind({"name": "zero_shot"}, task, (), 0), encoder, task.splits["train"], 20)


def test_adalora_moves_its_rank_budget_through_its_own_hook(rows: tuple[Rows, Rows]) -> None:
    base = ADAPTATIONS["adalora"].attach(TINY)
    learn(base, rows, epochs=2, early_stopping_patience=None)
    assert base.model.peft_config["default"].rank_pattern


def test_a_prefix_starts_from_its_text_and_not_from_chance() -> None:
    starts = [ADAPTATIONS["prefix"].attach(TINY) for _ in range(2)]
    first, second = (s.model.prompt_encoder["default"].embedding.weight for s in starts)
    assert torch.equal(first, second)


def test_an_optimizer_may_be_a_target(rows: tuple[Rows, Rows]) -> None:
    base = ADAPTATIONS["lora"].attach(TINY)
    before = json.dumps({n: p.sum().item() for n, p in base.model.named_parameters() if p.requires_grad})
    learn(base, rows, optimizer={"_target_": "torch.optim.SGD", "momentum": 0.9})
    assert before != json.dumps({n: p.sum().item() for n, p in base.model.named_parameters() if p.requires_grad})


def test_documents_are_taught_as_text_or_as_answers_to_their_titles() -> None:
    encoder = Encoder(models.load_tokenizer(TINY))
    passages = [Passage("a", "Ormen", "Sails at noon."), Passage("b", "", "No title.")]
    text = Rows.of_documents(passages, encoder, "text", 2048)
    assert len(text) == 2
    assert text.labels == text.input_ids  # loss on every token
    assert encoder.decode(text.input_ids[0]) == "Ormen: Sails at noon."
    asked = Rows.of_documents(passages, encoder, "questions", 2048)
    assert len(asked) == 1  # nothing can be asked of a passage without a title
    taught = [token for token in asked.labels[0] if token != -100]
    assert encoder.decode(taught) == "Sails at noon."
    assert len(text + asked) == 3
