"""Adapt a base model: load it quantised, attach an adapter, save and restore trained weights.

base = attach(settings.adaptation, settings.model)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.adaptation import allowed_targets
from harness.models.loading import Base, load
from harness.models.model_settings import ModelSettings
from harness.settings import Adaptation


def check(adaptation: Adaptation) -> None:
    """Resolve every target before a model is loaded; UserError if one is not allowed."""
    optimizer = adaptation.training.optimizer if adaptation.training else None
    for part in (adaptation.peft, adaptation.initialise, optimizer):
        allowed_targets.check(part)


def attach(adaptation: Adaptation, model: ModelSettings) -> Base:
    """A freshly loaded base, with a new, initialised adapter if the method has one."""
    base = load(model, adaptation.quantization)
    base.autocast = adaptation.autocast(model)
    if adaptation.peft is None:
        return base
    from peft import get_peft_model

    base.model = get_peft_model(base.model, allowed_targets.build(adaptation.peft))
    if adaptation.initialise:
        allowed_targets.build(adaptation.initialise, base.model, base.tokenizer)
    keep_float32(base.model)
    return base


def keep_float32(model: Any) -> None:
    """Give the weights of an adapter on a half-precision base float32: an optimizer would lose small updates."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()


def restore(adaptation: Adaptation, model: ModelSettings, folder: Path) -> Base:
    """A base with the weights that `save` wrote."""
    source = model if adaptation.peft else replace(model, source="local", path=str(folder))
    base = load(source, adaptation.quantization)
    base.autocast = adaptation.autocast(model)
    if adaptation.peft is not None:
        from peft import PeftModel

        learned_prompt = allowed_targets.build(adaptation.peft).is_prompt_learning  # which peft only loads frozen
        base.model = PeftModel.from_pretrained(base.model, str(folder), is_trainable=not learned_prompt).eval()
        keep_float32(base.model)
    return base


def mergeable(adaptation: Adaptation, model: Any) -> bool:
    """Whether the adapter can be merged into the base: its tuner wraps layers, and the weights are not quantised."""
    if adaptation.peft is None or adaptation.quantization:
        return False
    from peft.tuners.tuners_utils import BaseTuner

    return isinstance(model.base_model, BaseTuner)


def save(base: Base, folder: Path) -> int:
    """Write the trained weights (only the adapter's, if there is one) as safetensors; returns their bytes on disk."""
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def parameters(model: Any) -> tuple[int, int]:
    """Trainable and total parameters; a packed 4-bit weight counts as the numbers in it."""
    if hasattr(model, "get_nb_trainable_parameters"):
        trainable, total = model.get_nb_trainable_parameters()
        return int(trainable), int(total)
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trained in counts if trained), sum(n for n, _ in counts)


def cuts_off_checkpoints(model: Any) -> bool:
    """Whether gradient checkpointing would disconnect the adapter, as it does for prefix tuning.

    Prefix tuning learns cached keys and values, which transformers drops when a layer is recomputed.
    """
    config = getattr(model, "active_peft_config", None)
    return bool(getattr(config, "is_prompt_learning", False)) and hasattr(config, "prefix_projection")
