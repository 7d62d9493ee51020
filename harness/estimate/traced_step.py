"""Memory of a training step and of an answer, by part, found by tracing them on tensors without data.

    step = training_step(settings, batch=1, tokens=512)
    step.parts         # {"weights": 269484032, "gradients": ..., "activations": ...}: what is held at the peak
    step.peak          # their sum, bytes

The model is built from the configuration that a run has, on torch's meta device; one real step (the trainer's own loss,
backward, the optimizer) then runs on fake tensors, and a ledger notes when each storage is made and when it is
released. So a new architecture, PEFT method or optimizer needs no line here. Only two things are not run as they are:
a 4-bit layer is stood in for by one that holds the same bytes and dequantises where bitsandbytes does, and the state of
bitsandbytes' 8-bit optimizers is counted by its rule.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from harness.adaptation import allowed_targets, peft_model
from harness.errors import UserError
from harness.measurement.flops import Matrices
from harness.models import loading
from harness.settings import Adaptation, Settings, TrainingSettings

_BLOCK = 64  # weights that share a quantisation constant (bitsandbytes' default)
_BLOCK_OF_BLOCKS = 256  # constants that share one, where they are quantised themselves
_SMALLEST_8BIT = 4096  # numbers in a parameter from which bitsandbytes keeps its state in 8 bits
_STATE_BLOCK = 256


@dataclass(frozen=True)
class Footprint:
    """Bytes by part at the moment of the peak, and what does not depend on the moment."""

    parts: dict[str, int]
    matrices: Matrices
    checkpointing: bool = False
    """Whether it was really on: prefix tuning knows none."""
    trainable_parameters: int = 0
    total_parameters: int = 0

    @property
    def peak(self) -> int:
        return sum(self.parts.values())


@dataclass
class Sketch:
    """A model of fake tensors with its adapter, and the ledger that knows what its parameters are."""

    loaded: loading.Base
    mode: FakeTensorMode
    ledger: Ledger
    adaptation: Adaptation

    @property
    def model(self) -> Any:
        return self.loaded.model

    @classmethod
    def of(cls, settings: Settings) -> Sketch:
        """The model that a run with these settings would have, holding no data."""
        adaptation = settings.adaptation
        peft_model.check(adaptation)
        with torch.device("meta"):
            model = loading.outline(settings.model)
            if adaptation.quantization:
                if not adaptation.quantization.get("load_in_4bit"):
                    raise UserError("harness estimate knows a base in 4 bits, not in 8: adaptation.quantization.")
                if (adaptation.peft or {}).get("use_dora"):
                    raise UserError("harness estimate does not know DoRA on a 4-bit base.")
                _pack(model, adaptation.quantization)
            if adaptation.peft is not None:
                from peft import get_peft_model

                model = get_peft_model(model, allowed_targets.build(adaptation.peft))
                peft_model.keep_float32(model)
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode:
            _give_fake_tensors(model)
        dtype, autocast = getattr(torch, settings.model.dtype), adaptation.autocast(settings.model)
        sketch = cls(loading.Base(model, None, dtype, autocast), mode, Ledger(), adaptation)
        sketch._enter_parameters()
        return sketch

    @property
    def base(self) -> Any:
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    def past_the_layers(self, module: Any, inputs: Any, output: Any) -> None:
        """Between the layers, forward and backward, it is the head that makes storages."""
        self.ledger.now("logits")
        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.register_hook(lambda gradient: self.ledger.now("activations"))

    def _enter_parameters(self) -> None:
        for module in self.model.modules():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is None:
                    continue
                constants = isinstance(module, _Packed) and name != "weight"
                of_adapter = tensor.requires_grad and self.adaptation.peft is not None
                label = "quantisation constants" if constants else "adapter" if of_adapter else "weights"
                self.ledger.enter(tensor, label)


def training_step(
    settings: Settings,
    batch: int,
    tokens: int,
    learned: int,
    checkpointing: bool | None = None,
) -> Footprint:
    """The peak of a step on `batch` rows of `tokens`; checkpointing as the settings say if it is not given.

    learned: tokens of a row that the loss is on, which alone get logits.
    """
    from harness.adaptation.train import checkpoints, completion_loss

    training = settings.training
    if training is None:
        raise UserError(f"method={settings.method} trains nothing, so it has no training step.")
    sketch = Sketch.of(settings)
    model, ledger = sketch.model, sketch.ledger
    if checkpointing is not None:
        training = replace(training, gradient_checkpointing=checkpointing)
    again = checkpoints(training, model)
    _train_like_trl(sketch, again)
    trained = [p for p in model.parameters() if p.requires_grad]
    with sketch.mode, _silent():
        ledger.now("optimizer states")
        with ledger:
            optimizer_bytes, optimizer = _warm_optimizer(model, training)
            if training.gradient_accumulation_steps > 1:  # from the second batch on there are gradients already
                ledger.now("gradients")
                for parameter in trained:
                    parameter.grad = torch.empty_like(parameter)
        ledger.begin()
        with ledger, torch.autocast("cpu", torch.bfloat16, enabled=bool(training.bf16)):
            ids = torch.zeros(batch, tokens, dtype=torch.long)
            ledger.now("activations")
            loss = completion_loss(model, {"input_ids": ids}, ids, torch.arange(tokens - learned, tokens))
        with ledger:
            loss.backward()
            del loss
            for parameter in trained:
                ledger.enter(parameter.grad, "gradients")
            ledger.now("temporaries of the optimizer")
            torch.nn.utils.clip_grad_norm_(trained, training.max_grad_norm)
            if optimizer is not None and not optimizer.defaults.get("fused"):  # one kernel makes nothing of its own
                optimizer.step()
    parts = ledger.at_the_peak()
    if optimizer_bytes:
        parts["optimizer states"] = optimizer_bytes
    return Footprint(parts, Matrices.of(model), again, sum(p.numel() for p in trained), _numbers(model))


def answering(settings: Settings, batch: int, tokens: int, answer_tokens: int) -> Footprint:
    """The peak of reading `batch` prompts of `tokens` and keeping their cache while `answer_tokens` are added."""
    sketch = Sketch.of(settings)
    ledger = sketch.ledger
    sketch.model.eval()
    with sketch.mode, _silent(), torch.inference_mode(False), torch.no_grad():
        ledger.begin()
        with ledger, sketch.loaded.answering():
            ids = torch.zeros(batch, tokens, dtype=torch.long)
            ledger.now("activations")
            read = sketch.model(input_ids=ids, use_cache=True, logits_to_keep=1)
            ledger.enter(read.logits, "logits")
            for tensor in _cached(read.past_key_values):
                ledger.enter(tensor, "KV cache")
    parts = ledger.at_the_peak()
    kept = sum(tensor.untyped_storage().nbytes() for tensor in _cached(read.past_key_values))
    grown = round(kept * (tokens + answer_tokens) / max(1, tokens))
    reading = sum(parts.values())
    answering_bytes = reading - parts.get("activations", 0) - parts.get("KV cache", 0) + grown
    if answering_bytes > reading:  # the cache of a long answer outweighs what reading the prompt takes
        parts = {**{n: b for n, b in parts.items() if n != "activations"}, "KV cache": grown}
    return Footprint(parts, Matrices.of(sketch.model), False, 0, _numbers(sketch.model))


class Ledger(TorchDispatchMode):
    """When each storage is made and released, and what it is for."""

    def __init__(self) -> None:
        super().__init__()
        self._label = "weights"
        self._number = 0
        self._alive: dict[int, int] = {}
        # by the storage's address, its number
        self._labels: dict[int, str] = {}
        self._sizes: dict[int, int] = {}
        self._events: list[int] = []
        # a storage's number when it is made, minus that when it is released

    def now(self, label: str) -> None:
        """Set the purpose of storages made from now on."""
        self._label = label

    def begin(self) -> None:
        """Forget what has happened; what is alive stays."""
        self._events = sorted(self._alive.values())

    def enter(self, tensor: torch.Tensor, label: str | None = None) -> None:
        """A tensor's storage; a label says what it is for, whatever was said before."""
        storage = tensor.untyped_storage()
        number = self._alive.get(storage._cdata)
        if number is None:
            self._number += 1
            number = self._number
            self._alive[storage._cdata] = number
            self._labels[number] = label or self._label
            self._sizes[number] = storage.nbytes()
            self._events.append(number)
            weakref.finalize(storage, self._release, storage._cdata, number)
        if label:
            self._labels[number] = label

    def _release(self, address: int, number: int) -> None:
        self._events.append(-number)
        if self._alive.get(address) == number:
            del self._alive[address]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, torch.Tensor):
                self.enter(value)
        return out

    def at_the_peak(self) -> dict[str, int]:
        """Bytes by label when most was alive."""
        total, most, when = 0, 0, 0
        for moment, event in enumerate(self._events, start=1):
            total += self._sizes[abs(event)] * (1 if event > 0 else -1)
            if total > most:
                most, when = total, moment
        held: Counter[str] = Counter()
        for event in self._events[:when]:
            held[self._labels[abs(event)]] += self._sizes[abs(event)] * (1 if event > 0 else -1)
        return {label: size for label, size in held.items() if size}


class _Packed(nn.Linear):
    """A linear layer with a weight of 4 bits a number and its constants, as bitsandbytes holds it."""

    def __init__(self, linear: Any, nested: bool) -> None:
        nn.Module.__init__(self)
        across = isinstance(linear, nn.Linear)  # else Conv1D, whose weight lies the other way
        self.out_features, self.in_features = linear.weight.shape if across else linear.weight.shape[::-1]
        numbers = linear.weight.numel()
        blocks = -(-numbers // _BLOCK)
        self.weight = nn.Parameter(torch.empty((numbers + 1) // 2, dtype=torch.uint8), requires_grad=False)
        self.register_buffer("absmax", torch.empty(blocks, dtype=torch.uint8 if nested else torch.float32))
        if nested:
            self.register_buffer("nested_absmax", torch.empty(-(-blocks // _BLOCK_OF_BLOCKS)))
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = _Dequantised.apply(x, (self.out_features, self.in_features))
        return out if self.bias is None else out + self.bias


class _Dequantised(torch.autograd.Function):
    """y = x W^T with a W that is dequantised for the moment, forward and backward, and never saved."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        ctx.shape = shape
        return nn.functional.linear(x, x.new_empty(shape))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,) = gradients
        return torch.matmul(gradient, gradient.new_empty(ctx.shape)), None


def _pack(model: Any, quantization: Any) -> None:
    """Put 4-bit layers where transformers puts them: every linear layer but the head."""
    head, nested = model.get_output_embeddings(), bool(quantization.get("bnb_4bit_use_double_quant"))
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ in ("Linear", "Conv1D") and child is not head:
                setattr(module, name, _Packed(child, nested))
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def _give_fake_tensors(model: Any) -> None:
    """Fake tensors for a meta model's parameters and buffers; tied ones stay tied."""
    made: dict[int, nn.Parameter] = {}
    originals = []
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in made:
                    fresh = torch.empty(parameter.shape, dtype=parameter.dtype)
                    made[id(parameter)] = nn.Parameter(fresh, requires_grad=parameter.requires_grad)
                    originals.append(parameter)  # alive, so that no other gets its id
                module._parameters[name] = made[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _train_like_trl(sketch: Sketch, checkpointing: bool) -> None:
    sketch.base.base_model.register_forward_hook(sketch.past_the_layers)
    sketch.model.train()
    if checkpointing:
        sketch.model.gradient_checkpointing_enable({"use_reentrant": False})
        if hasattr(sketch.model, "enable_input_require_grads"):
            sketch.model.enable_input_require_grads()


def _warm_optimizer(model: Any, training: TrainingSettings) -> tuple[int, Any]:
    """An optimizer with its state, as after a first step; or the bytes of one whose kernels take no fake tensor."""
    from harness.adaptation.train import optimizer_class

    kind, options = optimizer_class(training, 1e-4)
    trained = [p for p in model.parameters() if p.requires_grad]
    if kind.__module__.startswith("bitsandbytes"):
        from bitsandbytes.optim.optimizer import Optimizer1State

        states = 1 if issubclass(kind, Optimizer1State) else 2
        embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        in_8_bits = options.get("optim_bits") == 8 or "8bit" in kind.__name__
        return sum(states * _state_bytes(p.numel(), in_8_bits and id(p) not in embeddings) for p in trained), None
    optimizer = kind(trained, **options)
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return 0, optimizer


def _state_bytes(numbers: int, in_8_bits: bool) -> int:
    """Of one state: 8 bits a number, with a float32 a block, where the parameter is large enough, else 32."""
    if in_8_bits and numbers >= _SMALLEST_8BIT:
        return numbers + 4 * -(-numbers // _STATE_BLOCK)
    return 4 * numbers


def _cached(cache: Any) -> Iterator[torch.Tensor]:
    for layer in getattr(cache, "layers", ()):
        for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None)):
            if tensor is not None:
                yield tensor


def _numbers(model: Any) -> int:
    """Numbers that a model's parameters hold; a packed byte holds two."""
    seen = {id(p): p.numel() * (2 if p.dtype == torch.uint8 else 1) for p in model.parameters()}
    return sum(seen.values())


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def with_settings(settings: Settings, **training: Any) -> Settings:
    """The settings with other values of `training`."""
    return Settings({**settings.config, "training": {**settings.config["training"], **training}})
