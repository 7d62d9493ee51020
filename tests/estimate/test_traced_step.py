"""What a step holds in memory, found without data: held against what torch really allocates."""

import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from harness.adaptation import peft_model
from harness.adaptation.batches import Rows
from harness.adaptation.train import completion_loss, train
from harness.cli import app
from harness.errors import UserError
from harness.estimate import fitting, prediction
from harness.estimate.traced_step import Sketch, answering, training_step, with_settings
from harness.measurement.flops import Matrices
from harness.measurement.machine import describe_device
from harness.measurement.meter import Meter
from harness.settings import Settings
from harness.sweep import compose
from tests.factories import make_record, revise, write_results

TINY = ["model=tiny", "model.shape.intermediate_size=512", "++training.batch_size=2"]
TOKENS = 48


def tiny_settings(*words: str) -> Settings:
    (found,) = compose.compositions([*TINY, *words])
    return found


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


def test_a_7b_estimate_adds_up_and_says_which_gpus_it_fits() -> None:
    alone = ["training.gradient_checkpointing=true", "training.batch_size=1"]
    (asked,) = compose.compositions(["model=shape-llama2-7b", "method=qlora", *alone])
    found = prediction.estimate(asked, prediction.Request(tokens=512))
    assert found.device == "cuda"
    assert sum(found.parts.values()) == found.peak_memory_bytes
    assert found.fits["24 GB"]
    assert found.other_checkpointing_bytes and found.other_checkpointing_bytes > found.peak_memory_bytes
    assert found.seconds_per_step is None  # nothing was measured, so nothing is said


def test_fitting_finds_a_batch_or_the_cheapest_change_or_says_that_nothing_fits() -> None:
    request = prediction.Request(tokens=64, device="cuda")
    lora = tiny_settings("method=lora")
    one = prediction.estimate(with_settings(lora, batch_size=1), request, thorough=False).peak_memory_bytes
    roomy = fitting.fit(lora, request, 2 * one)
    assert roomy.fits and roomy.found.batch > 1 and roomy.found.peak_memory_bytes <= 2 * one
    tight = fitting.fit(lora, request, one - 2**10)
    assert tight.fits and "gradient_checkpointing=true" in tight.what
    assert not fitting.fit(lora, request, 2**20).fits


CURVES: dict[str, Callable[[int], int]] = {
    "a line": lambda batch: 100 + 7 * batch,
    "flat": lambda batch: 100,
    "steps": lambda batch: 100 + 50 * (batch // 16),
    "a jump": lambda batch: 100 + batch + 10_000 * (batch > 5),
    "ever steeper": lambda batch: 100 + batch**2,
    "ever flatter": lambda batch: 100 + int(1000 * batch**0.5),
}


@pytest.mark.parametrize("room", [0, 43, 300, 5_000, 20_000])
@pytest.mark.parametrize("curve", CURVES)
def test_the_largest_batch_fits_and_an_eighth_more_does_not(curve: str, room: int) -> None:
    need, tried = CURVES[curve], []
    limit = need(1) + room

    def needed(candidate: Settings) -> Any:
        tried.append(candidate.training.batch_size)
        return SimpleNamespace(needed=need(tried[-1]))

    least: Any = SimpleNamespace(needed=need(1))
    batch, found = fitting._largest_batch(tiny_settings("method=lora"), least, limit, needed)
    assert found.needed == need(batch) <= limit
    assert batch == 1024 or need(batch + max(1, batch // 8)) > limit
    assert len(tried) == len(set(tried)) and len(tried) <= (4 if curve == "a line" else 18)


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


def test_a_time_comes_from_earlier_runs_on_this_device_and_from_nowhere_else(tmp_path: Path) -> None:
    asked = tiny_settings("method=lora", f"results={tmp_path / 'results'}")
    request = prediction.Request(tokens=32, device="cpu")
    assert prediction.estimate(asked, request, thorough=False).seconds_per_step is None
    for device, flops in ((describe_device()[0], 4e9), ("another", 9e99)):
        made = make_record("lora", rank=8, seed=int(flops < 5e9))
        trained = {"flops": flops, "seconds": 2.0}
        write_results(tmp_path / "results", revise(made, training=trained, environment={"device": device}))
    found = prediction.estimate(asked, request, thorough=False)
    assert found.step_flops and found.seconds_per_step == pytest.approx(found.step_flops / 2e9)
    assert "1 earlier lora runs" in found.throughput


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


def test_the_command_prints_json_and_what_makes_it_fit() -> None:
    words = ["estimate", "model=tiny", "method=lora", "--tokens", "16", "--fit", "24GB", "--json"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0
    found = json.loads(said.stdout)
    assert found["fit"]["fits"] and sum(found["parts"].values()) == found["peak_memory_bytes"]
