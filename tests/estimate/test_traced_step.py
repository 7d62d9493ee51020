"""What a step holds in memory, found without data: held against what torch really allocates."""

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from harness.adaptation import peft_model
from harness.adaptation.batches import Rows
from harness.adaptation.train import train
from harness.errors import UserError
from harness.estimate import prediction
from harness.estimate.traced_step import Sketch, answering, training_step
from harness.measurement.meter import Meter
from harness.sweep import compose
from tests.tiny_model import tiny_settings

TOKENS = 48


class Allocated(TorchDispatchMode):
    """Bytes of the storages that are alive, and their peak, while real tensors are computed."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: set[int] = set()
        for tensor in (*model.parameters(), *model.buffers()):
            self.enter(tensor)

    def enter(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self.leave, storage._cdata, storage.nbytes())

    def leave(self, address: int, size: int) -> None:
        self.known.discard(address)
        self.live -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, torch.Tensor):
                self.enter(value)
        return out


@pytest.mark.parametrize("method", ["full", "lora", "prefix"])
def test_a_predicted_step_holds_what_a_real_one_does(method: str) -> None:
    asked = tiny_settings(f"method={method}")
    base = peft_model.attach(asked.adaptation, asked.model)
    row = [5 + i % 100 for i in range(TOKENS)]
    rows = Rows([row] * 4, [[-100] * (TOKENS - 4) + row[-4:]] * 4)
    how = replace(asked.training, epochs=1)
    counted = Allocated(base.model)
    with counted:
        train(base, rows, Rows([], []), how, 1e-4, 0, Meter(), lambda done, total: None)
    predicted = training_step(asked, 2, TOKENS, 4)
    assert predicted.peak == pytest.approx(counted.peak, rel=0.03)
    assert predicted.trainable_parameters == sum(p.numel() for p in base.model.parameters() if p.requires_grad)


def test_checkpointing_holds_less_and_prefix_tuning_knows_none() -> None:
    lora, prefix = (tiny_settings(f"method={name}", "model.shape.num_hidden_layers=12") for name in ("lora", "prefix"))
    kept, again = (training_step(lora, 8, 256, 8, on).parts["activations"] for on in (False, True))
    assert again < kept / 4
    assert training_step(prefix, 8, 256, 8, True).parts == training_step(prefix, 8, 256, 8, False).parts


def test_a_4_bit_base_holds_half_a_byte_a_number_and_its_constants() -> None:
    held = training_step(tiny_settings("method=qlora"), 1, 8, 4).parts
    packed = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 512)  # queries, keys and values, output, three of the MLP
    others = 4 * (2 * 258 * 32 + 5 * 32)  # embeddings, head, norms
    assert held["weights"] == pytest.approx(packed / 2 + others, rel=0.01)
    assert held["quantisation constants"] == pytest.approx(packed / 64 * (1 + 4 / 256), rel=0.05)


def test_an_8_bit_optimizer_keeps_a_quarter_of_the_state_but_for_embeddings() -> None:
    plain = training_step(tiny_settings("method=full"), 1, 8, 4).parts["optimizer states"]
    eight = training_step(tiny_settings("method=full", "training.optimizer=adamw_bnb_8bit"), 1, 8, 4).parts[
        "optimizer states"
    ]
    assert 0.25 < eight / plain < 0.6


def test_the_cache_of_a_long_answer_is_counted() -> None:
    asked = tiny_settings()
    short, long = (answering(asked, 4, 64, n).parts["KV cache"] for n in (0, 4096))
    assert long == 65 * short
    assert short == 4 * 64 * 2 * 2 * 2 * 8 * 4  # rows, tokens, layers, keys and values, heads, width, bytes


PARAMETERS = {
    "gpt2": 124_439_808,
    "smollm2-135m": 134_515_008,
    "qwen2.5-0.5b": 494_032_768,
    "tinyllama-1.1b": 1_100_048_384,
    "llama3.2-1b": 1_235_814_400,
    "llama2-7b": 6_738_415_616,
    "mistral-7b": 7_248_023_552,
    "llama3.1-8b": 8_030_261_248,
    "llama2-13b": 13_015_864_320,
    "qwen2.5-32b": 32_763_876_352,
    "llama2-70b": 68_976_648_192,
    "llama3.1-70b": 70_553_706_496,
}


@pytest.mark.parametrize("shape", PARAMETERS)
def test_a_shape_has_as_many_parameters_as_the_model_it_is_named_for(shape: str) -> None:
    (asked,) = compose.compositions([f"model=shape-{shape}"])
    assert sum(p.numel() for p in Sketch.of(asked).model.parameters()) == PARAMETERS[shape]


def test_accumulated_gradients_are_there_while_the_next_batch_is_read() -> None:
    once, twice = (tiny_settings("method=full", f"training.gradient_accumulation_steps={n}") for n in (1, 2))
    assert training_step(twice, 8, 256, 8).peak > training_step(once, 8, 256, 8).peak
    request = prediction.Request(tokens=16, device="cpu")
    flops = [prediction.estimate(asked, request, thorough=False).step_flops or 0 for asked in (once, twice)]
    assert flops[1] == 2 * flops[0]


def test_what_is_not_known_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="not in 8"):
        training_step(tiny_settings("method=qlora", "adaptation.quantization.load_in_4bit=false"), 1, 8, 4)
    with pytest.raises(UserError, match="DoRA"):
        training_step(tiny_settings("method=qlora", "+adaptation.peft.use_dora=true"), 1, 8, 4)
