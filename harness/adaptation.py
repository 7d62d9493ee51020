"""An Adaptation: what happens to the weights. Three optional parts: a quantised base, an adapter, training.

            quantization   peft   training
none             -           -        -
full             -           -       yes
lora, prefix     -          yes      yes
qlora           nf4         yes      yes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import targets

if TYPE_CHECKING:
    from harness.models import Base


@dataclass(frozen=True)
class Adaptation:
    """What is done to a base model; any part may be absent."""

    quantization: Mapping[str, Any] | None
    # options of transformers' BitsAndBytesConfig
    peft: Mapping[str, Any] | None
    # a `_target_` of a PEFT config
    initialise: Mapping[str, Any] | None
    # a `_target_` called with (model, tokenizer) once the adapter is attached
    training: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """none | full | lora | qlora | prefix | ..., from the three parts."""
        if self.peft is None:
            bare = "full" if self.training else "none"
            return f"{bare}_4bit" if self.quantization else bare
        kind = str(self.peft["_target_"]).rsplit(".", 1)[-1].removesuffix("Config").lower()
        kind = kind.removesuffix("tuning")
        if self.quantization:
            return "qlora" if kind == "lora" else f"{kind}_4bit"
        return kind

    @property
    def rank(self) -> int | None:
        """The adapter's rank, where it has one."""
        rank = (self.peft or {}).get("r")
        return int(rank) if rank is not None else None

    def mergeable(self, model: Any) -> bool:
        """Whether the adapter can be folded into the base: a tuner that wraps layers, and weights in full precision."""
        if self.peft is None or self.quantization:
            return False
        from peft.tuners.tuners_utils import BaseTuner

        return isinstance(model.base_model, BaseTuner)

    def check(self) -> None:
        """Resolve every target before a model is loaded."""
        for part in (self.peft, self.initialise, (self.training or {}).get("optimizer")):
            targets.check(part)

    def attach(self, model: Mapping[str, Any]) -> Base:
        """A freshly loaded base with a new, initialised adapter where there is one."""
        from harness.models import Base, load

        base = load(model, self.quantization)
        if self.peft is None:
            return base
        from peft import get_peft_model

        adapted = get_peft_model(base.model, targets.build(self.peft))
        if self.initialise:
            targets.build(self.initialise, adapted, base.tokenizer)
        return Base(adapted, base.tokenizer)

    def restore(self, model: Mapping[str, Any], folder: Path) -> Base:
        """A base with the weights that `save` wrote."""
        from harness.models import Base, load

        if self.peft is None:
            return load({**model, "source": "local", "path": str(folder)}, self.quantization)
        from peft import PeftModel

        base = load(model, self.quantization)
        return Base(PeftModel.from_pretrained(base.model, str(folder)).eval(), base.tokenizer)


def save(base: Base, folder: Path) -> int:
    """Write the trained weights (of an adapter: only its own) as safetensors; their bytes on disk."""
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
    """Whether gradient checkpointing would cut an adapter off.

    What prefix tuning learns is a cache of keys and values, which transformers drops where a layer is computed again.
    """
    config = getattr(model, "active_peft_config", None)
    return bool(getattr(config, "is_prompt_learning", False)) and hasattr(config, "prefix_projection")
