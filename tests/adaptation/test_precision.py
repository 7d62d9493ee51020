"""One precision for training and answering: float32 adapters, bfloat16 bases, autocast that ends with training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.adaptation import peft_model
from harness.adaptation.batches import Rows
from harness.adaptation.train import train
from harness.measurement.meter import Meter
from harness.models.loading import Base
from harness.models.model_settings import ModelSettings
from harness.settings import Adaptation
from tests.tiny_model import LORA, NF4, SFT, TINY

BF16 = replace(TINY, dtype="bfloat16")
ROWS = Rows([[5, 6, 7, 8, 9, 10]] * 8, [[-100, -100, 7, 8, 9, 10]] * 8)
PREFIX = {"_target_": "peft.PrefixTuningConfig", "task_type": "CAUSAL_LM", "num_virtual_tokens": 4}


def trained(adaptation: Adaptation, model: ModelSettings = TINY) -> Base:
    base = peft_model.attach(adaptation, model)
    assert adaptation.training is not None
    train(base, ROWS, ROWS, adaptation.training, 1e-3, 0, Meter(), lambda done, total: None)
    return base


@pytest.mark.parametrize("quantization", [None, NF4], ids=["lora", "qlora"])
@pytest.mark.parametrize("model", [TINY, BF16], ids=["float32", "bfloat16"])
def test_adapters_are_float32_in_training_on_any_base(
    quantization: dict[str, object] | None, model: ModelSettings
) -> None:
    """TRL rounds those on a 4-bit base to bfloat16; beside LoRA's that would be another precision and optimizer."""
    base = trained(Adaptation(quantization, LORA, None, replace(SFT, bf16=True)), model)
    assert {p.dtype for p in base.model.parameters() if p.requires_grad} == {torch.float32}


@pytest.mark.parametrize("peft", [LORA, PREFIX], ids=["lora", "prefix"])
def test_while_answering_an_adapter_has_the_type_of_its_base(peft: dict[str, object], tmp_path: Path) -> None:
    adaptation = Adaptation(None, peft, None, replace(SFT, bf16=True))
    base = trained(adaptation, BF16)
    ids = torch.tensor([[5, 6, 7, 8]])
    before = [p.clone() for p in base.model.parameters() if p.requires_grad]
    with base.answering(), torch.no_grad():
        assert {p.dtype for p in base.model.parameters()} == {torch.bfloat16}
        answers = base.model(input_ids=ids).logits
    after = [p for p in base.model.parameters() if p.requires_grad]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    peft_model.save(base, tmp_path)
    restored = peft_model.restore(adaptation, BF16, tmp_path)
    with restored.answering(), torch.no_grad():
        assert torch.equal(restored.model(input_ids=ids).logits, answers)


def test_masters_are_float32_and_answer_in_the_autocast_they_were_trained_in() -> None:
    base = trained(Adaptation(None, None, None, replace(SFT, bf16=True)))
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        plain = base.model(input_ids=ids).logits
        with torch.autocast("cpu", torch.bfloat16):
            mixed = base.model(input_ids=ids).logits
        with base.answering():
            answers = base.model(input_ids=ids).logits
    assert {p.dtype for p in base.model.parameters()} == {torch.float32}
    assert plain.dtype == torch.float32  # accelerate's autocast does not stay in `forward`
    assert torch.equal(answers, mixed)
    assert not torch.equal(answers, plain)
