"""Operations of a training step, counted by torch."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.adaptation import peft_model
from harness.adaptation.train import completion_loss
from harness.measurement.flops import Matrices
from tests.tiny_model import tiny_settings

TOKENS = 48


@pytest.mark.parametrize("learned", [4, TOKENS - 1])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_stated_count_of_operations_is_what_torch_counts(method: str, checkpointing: bool, learned: int) -> None:
    asked = tiny_settings(f"method={method}")
    model = peft_model.attach(asked.adaptation, asked.model).model.train()
    model.config.use_cache = False
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        if method == "lora":
            model.enable_input_require_grads()
    ids = torch.zeros(2, TOKENS, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        completion_loss(model, {"input_ids": ids}, ids, torch.arange(TOKENS - learned, TOKENS)).backward()
    stated = Matrices.of(model).training(2 * TOKENS, 2 * learned, TOKENS, checkpointing)
    assert stated == pytest.approx(counter.get_total_flops(), rel=0.12 if checkpointing else 0.08)
