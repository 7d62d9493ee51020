"""What happens to the weights of a base model: quantised when loaded, an adapter attached, trained weights restored.

base = attach(settings.adaptation, settings.model)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.adaptation import allowed_targets
from harness.models.loading import Base, load
from harness.models.model_settings import ModelSettings
from harness.settings import Adaptation


def check(adaptation: Adaptation) -> None:
    """Resolve every target before a model is loaded; UserError if one may not be called."""
    for part in (adaptation.peft, adaptation.initialise, _optimizer(adaptation)):
        allowed_targets.check(part)


def _optimizer(adaptation: Adaptation) -> Mapping[str, Any] | None:
    """The optimizer, if it is a `_target_`."""
    optimizer = adaptation.training.optimizer if adaptation.training else None
    return optimizer if isinstance(optimizer, dict) else None


def attach(adaptation: Adaptation, model: ModelSettings) -> Base:
    """A freshly loaded base with a new, initialised adapter if there is one."""
    base = load(model, adaptation.quantization)
    if adaptation.peft is None:
        return base
    from peft import get_peft_model

    adapted = get_peft_model(base.model, allowed_targets.build(adaptation.peft))
    if adaptation.initialise:
        allowed_targets.build(adaptation.initialise, adapted, base.tokenizer)
    return Base(adapted, base.tokenizer)


def restore(adaptation: Adaptation, model: ModelSettings, folder: Path) -> Base:
    """A base with the weights that `save` wrote."""
    if adaptation.peft is None:
        return load(replace(model, source="local", path=str(folder)), adaptation.quantization)
    from peft import PeftModel

    base = load(model, adaptation.quantization)
    return Base(PeftModel.from_pretrained(base.model, str(folder)).eval(), base.tokenizer)


def mergeable(adaptation: Adaptation, model: Any) -> bool:
    """Whether the adapter can be folded into the base: a tuner that wraps layers, and weights in full precision."""
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
    """Trainable and total parameters; a packed 4-bit weight counts as the numbers it holds."""
    if hasattr(model, "get_nb_trainable_parameters"):
        trainable, total = model.get_nb_trainable_parameters()
        return int(trainable), int(total)
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trained in counts if trained), sum(n for n, _ in counts)


def cuts_off_checkpoints(model: Any) -> bool:
    """Whether gradient checkpointing would disable the adapter.

    What prefix tuning learns is a cache of keys and values, which transformers drops if a layer is computed again.
    """
    config = getattr(model, "active_peft_config", None)
    return bool(getattr(config, "is_prompt_learning", False)) and hasattr(config, "prefix_projection")
