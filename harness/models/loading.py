"""The base model and its tokenizer, from a package, the hub, a folder or random weights.

    base = load(ModelSettings("smollm2-135m", "hub", id="HuggingFaceTB/SmolLM2-135M-Instruct"), quantization=None)

Quantisation is a property of the base model, not a method of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.errors import UserError
from harness.measurement.machine import device
from harness.models.model_settings import ModelSettings
from harness.models.packaged import converted, random_weights, shape


@dataclass
class Base:
    """A causal language model with its tokenizer."""

    model: Any
    tokenizer: Any
    dtype: torch.dtype = torch.float32
    """Of the weights that are not trained."""
    autocast: bool = False
    """Whether float32 weights compute in bfloat16, in training and answering alike."""

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Compute as in training: in autocast, or with float32 adapter weights rounded to the base's type."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        precise = [(parameter, parameter.data) for parameter in trained if parameter.dtype != self.dtype]
        for parameter, values in precise:
            parameter.data = values.to(self.dtype)
        try:
            device_type = next(self.model.parameters()).device.type
            with torch.autocast(device_type, torch.bfloat16) if self.autocast else contextlib.nullcontext():
                yield
        finally:
            for parameter, values in precise:
                parameter.data = values


def load(settings: ModelSettings, quantization: Mapping[str, Any] | None) -> Base:
    """The model of `settings` on the device, in evaluation mode; UserError if it cannot be loaded."""
    location, revision = locate(settings)
    tokenizer = load_tokenizer(settings)
    with _loading_errors_explained(settings):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(
            location,
            revision=revision,
            dtype=getattr(torch, settings.dtype),
            device_map={"": device()},
            quantization_config=_bitsandbytes(quantization, settings.dtype),
            trust_remote_code=False,
        )
    _disable_bf16_repacking(model)
    if quantization:
        _detach_from_file(model)
    return Base(model.eval(), tokenizer, getattr(torch, settings.dtype))


def _detach_from_file(model: Any) -> None:
    """Copy the tensors that were not quantised: on a CPU they are views of the mapped file and keep it resident."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.is_floating_point():
            tensor.data = tensor.data.clone()


def _disable_bf16_repacking(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for bfloat16 inference on CPUs that have it.

    Repacking rounds the quantisation constants, so inference would use other weights than training, and results would
    differ between machines.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def load_tokenizer(settings: ModelSettings) -> Any:
    """The model's tokenizer alone, with a padding token."""
    location, revision = locate(settings)
    with _loading_errors_explained(settings):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(location, revision=revision, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def locate(settings: ModelSettings) -> tuple[str, str | None]:
    """A folder or a hub id, and a revision; converts or creates the folder on first use."""
    source = settings.source
    if source == "gguf_package":
        return str(converted(settings)), None
    if source == "random":
        return str(random_weights(settings)), None
    if source == "local":
        if not settings.path or not (Path(settings.path) / "config.json").exists():
            raise UserError(f"model.path={settings.path}: no such folder with a config.json.")
        return settings.path, None
    if not settings.id:
        raise UserError("model=hub needs model.id=ORG/NAME.")
    return settings.id, settings.revision


def make_ready(settings: ModelSettings) -> None:
    """Convert or create the model if needed, before anything is timed."""
    if settings.source in ("gguf_package", "random"):
        locate(settings)


def _bitsandbytes(quantization: Mapping[str, Any] | None, dtype: str) -> Any:
    """transformers' BitsAndBytesConfig; by default it computes in the model's type."""
    if not quantization:
        return None
    from transformers import BitsAndBytesConfig

    options = dict(quantization)
    compute = options.pop("compute_dtype", None) or dtype
    return BitsAndBytesConfig(**options, bnb_4bit_compute_dtype=getattr(torch, compute))


@contextlib.contextmanager
def _loading_errors_explained(settings: ModelSettings) -> Iterator[None]:
    """Turn an unreachable hub or an invalid model into a UserError with a remedy."""
    try:
        yield
    except OSError as cause:
        raise UserError(
            f"model={settings.name}: {settings.id or settings.path} could not be loaded "
            f"({type(cause).__name__}: {str(cause).splitlines()[0][:200]}). A hub model needs a network or a filled "
            f"cache; without one use a model from a package (harness list models), or model=local model.path=DIR."
        ) from cause


def outline(settings: ModelSettings) -> Any:
    """The model without its weights, on torch's current device (meta); reads only the configuration."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(configuration(settings), dtype=getattr(torch, settings.dtype))


def configuration(settings: ModelSettings) -> Any:
    from transformers import AutoConfig

    if settings.source == "random":
        return shape(settings.shape or {})
    location, revision = locate(settings)
    with _loading_errors_explained(settings):
        return AutoConfig.from_pretrained(location, revision=revision, trust_remote_code=False)
