"""How many tokens' keys and values fit; a GPU's memory is given as numbers."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from harness.inference import generate as generating
from harness.inference.cache_room import config_token_bytes, fitting, layers_token_bytes, room
from harness.models import loading
from tests.inference.asking import generate_all, load_tiny, prefix_of, prompt_of
from tests.tiny_model import SHAPE, TINY

TINY_TOKEN = 2 * 2 * 2 * 8 * 4
"""Keys and values, layers, key and value heads, width of a head, bytes of a number."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device with 600 bytes free, and 1000 reserved by torch of which 700 are in use."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (600, 10_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 1000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 700)
    return torch.device("cuda")


def test_tokens_take_half_of_the_free_memory() -> None:
    assert fitting(1000, 50) == 10
    assert fitting(99, 50) == 0


def test_a_gpu_has_room_by_its_free_memory_and_a_cpu_always_the_same(gpu: torch.device) -> None:
    assert room(gpu, 9) == 50  # half of 600 + 1000 - 700 bytes
    assert room(torch.device("cpu"), 9) == room(torch.device("cpu"), 9000) == 2**14


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cache_and_configuration_tell_the_same_size(dtype: Any) -> None:
    base = loading.load(replace(TINY, dtype=dtype), None)
    prompts = [prompt_of(base, text) for text in ("one", "two")]
    prefix = prefix_of(base, prompts)
    expected = TINY_TOKEN // (1 if dtype == "float32" else 2)
    assert prefix.token_bytes == layers_token_bytes(prefix._layers) == expected
    assert config_token_bytes(base.model.config, base.model.dtype.itemsize) == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (SHAPE, TINY_TOKEN),
        ({**SHAPE, "head_dim": 16}, 2 * TINY_TOKEN),
        ({"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4}, 2 * TINY_TOKEN),
        ({"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2}, None),
    ],
    ids=["grouped heads", "wide heads", "other field names", "no attention"],
)
def test_size_from_a_configuration(shape: dict[str, Any], expected: int | None) -> None:
    assert config_token_bytes(AutoConfig.for_model(**shape), 4) == expected


def test_a_field_that_differs_by_layer_gives_no_size() -> None:
    config = SimpleNamespace(num_hidden_layers=2, num_attention_heads=[4, 8], num_key_value_heads=[2, 4], head_dim=8)
    assert config_token_bytes(config, 4) is None


def test_rows_are_limited_to_the_room_on_a_gpu(gpu: torch.device) -> None:
    def model(device: str, **fields: int) -> Any:
        config = SimpleNamespace(**fields, get_text_config=lambda decoder: config)
        return SimpleNamespace(device=torch.device(device), dtype=torch.bfloat16, config=config)

    fields = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 1}  # 4 bytes, so room for 112 tokens
    assert generating._rows_apart(model("cuda", **fields), 64, 20) == 5
    assert generating._rows_apart(model("cuda", **fields), 3, 20) == 3
    assert generating._rows_apart(model("cuda", **fields), 64, 1000) == 1
    assert generating._rows_apart(model("cuda", num_hidden_layers=1), 64, 20) == 64
    assert generating._rows_apart(model("cpu", **fields), 64, 1000) == 64


def test_little_room_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_tiny()
    prompts = [prompt_of(base, f"{'a ' * n}{n}") for n in (3, 30, 11, 1)]
    expected = generate_all(base, prompts, None)
    monkeypatch.setattr(generating, "room", lambda device, token_bytes: 1)
    assert generate_all(base, prompts, prefix_of(base, prompts)) == expected


def test_batches_of_the_reference_way_keep_to_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    base, asked, sizes = load_tiny(), [], []
    prompts = [prompt_of(base, f"{'a ' * n}{n}") for n in (3, 30, 11, 1)]
    expected, genuine = generate_all(base, prompts, None), generating._generate_batch

    def two_rows(model: Any, rows: int, tokens_per_row: int) -> int:
        asked.append((rows, tokens_per_row))
        return 2

    def counted(model: Any, encoder: Any, prompts: Any, batch: list[int], most: int) -> Any:
        sizes.append(len(batch))
        return genuine(model, encoder, prompts, batch, most)

    monkeypatch.setattr(generating, "_rows_apart", two_rows)
    monkeypatch.setattr(generating, "_generate_batch", counted)
    assert generate_all(base, prompts, None) == expected
    assert (asked, sizes) == ([(3, max(map(len, prompts)) + 6)], [2, 2])
