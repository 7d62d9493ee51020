"""Tiny models of every kind, and the two ways to ask them: with a shared prefix and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
import torch

from harness.contexts.chat_format import Encoder
from harness.inference.choices import Question, score_choices
from harness.inference.generate import generate
from harness.inference.shared_prefix import SharedPrefix
from harness.models import loading
from tests.tiny_model import NF4, TINY


def load_tiny() -> loading.Base:
    return loading.load(TINY, None)


def load_adapted(config: peft.PeftConfig) -> loading.Base:
    base = load_tiny()
    torch.manual_seed(1)
    return loading.Base(peft.get_peft_model(base.model, config).eval(), base.tokenizer)


KINDS: dict[str, Callable[[], loading.Base]] = {
    "base": load_tiny,
    "4-bit": lambda: loading.load(TINY, NF4),
    "lora": lambda: load_adapted(
        peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    ),
    "prefix": lambda: load_adapted(peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")),
    "prompt tuning": lambda: load_adapted(peft.PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")),
}


CHOICES = ["billing", "bill", "billing department", "returns", "re"]


def prompt_of(base: loading.Base, text: str = "Which queue?") -> list[int]:
    return Encoder(base.tokenizer).prompt([{"role": "user", "content": text}])


@torch.no_grad()
def score_separately(model: Any, prompt: list[int], choice: list[int]) -> float:
    """The definition: one sequence a choice, no cache."""
    ids = torch.tensor([prompt + choice])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    added = logits.shape[0] - ids.shape[1]  # a soft prompt's positions
    following = logits.float().log_softmax(-1)[added + len(prompt) - 1 : -1]
    return float(following.gather(1, torch.tensor(choice)[:, None]).sum())


def ignore_progress(done: int, total: int) -> None:
    pass


def prefix_of(base: loading.Base, prompts: list[list[int]]) -> SharedPrefix:
    prefix = SharedPrefix.of(base.model, prompts)
    assert prefix is not None
    return prefix


def score_all(base: loading.Base, prompts: list[list[int]], prefix: SharedPrefix | None) -> list[list[float]]:
    choices = [Encoder(base.tokenizer).completion(choice) for choice in CHOICES]
    return score_choices(base.model, [Question(prompt, choices) for prompt in prompts], prefix, ignore_progress)


def generate_all(
    base: loading.Base, prompts: list[list[int]], prefix: SharedPrefix | None, rows: int = 3
) -> list[list[int]]:
    return generate(base.model, Encoder(base.tokenizer), prompts, 6, rows, prefix, ignore_progress)
