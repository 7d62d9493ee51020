"""A prefix that is read once changes no score and no answer."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicLayer

from harness.contexts.chat_format import Encoder
from harness.inference import shared_prefix
from harness.inference.generate import decode
from harness.inference.shared_prefix import Own, SharedPrefix, additive
from harness.models import loading
from tests.inference.asking import CHOICES, generate_all, load_tiny, prefix_of, prompt_of, score_all, score_separately
from tests.tiny_model import SHAPE, TINY

PROMPTS = {
    "very different lengths": [f"Which queue? {'so ' * n}{n}" for n in (1, 300, 7, 2, 40)],
    "one is nearly the beginning of the next": ["one " * 20, "one " * 20 + "more", "one " * 21],
    "the same twice": ["same", "same"],
    "a batch of one": ["Which queue?"],
}


def test_in_double_precision_the_two_ways_are_one() -> None:
    """So what they differ by otherwise is rounding."""
    base = loading.load(replace(TINY, dtype="float64"), None)
    prompts = [prompt_of(base, text) for text in PROMPTS["very different lengths"]]
    for together, apart in zip(
        score_all(base, prompts, prefix_of(base, prompts)), score_all(base, prompts, None), strict=True
    ):
        assert together == pytest.approx(apart, abs=1e-9)


@pytest.mark.parametrize("copies", [0, 16])
@pytest.mark.parametrize("texts", PROMPTS.values(), ids=PROMPTS.keys())
def test_a_prefix_read_once_changes_no_answer(
    base: loading.Base, texts: list[str], copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the prefix copied before every row's tokens, and with attention to it apart."""
    monkeypatch.setattr(shared_prefix, "_COPIES", copies)
    prompts = [prompt_of(base, text) for text in texts]
    prefix = prefix_of(base, prompts)
    assert all(tuple(p[: len(prefix.ids)]) == prefix.ids and len(p) > len(prefix.ids) for p in prompts)
    for together, apart in zip(score_all(base, prompts, prefix), score_all(base, prompts, None), strict=True):
        assert together == pytest.approx(apart, abs=1e-3)
    assert generate_all(base, prompts, prefix) == generate_all(base, prompts, None)


def test_a_prompt_that_is_the_beginning_of_another(base: loading.Base) -> None:
    longer = prompt_of(base, "one two three")
    prompts = [longer[:9], longer, longer[:10]]
    prefix = prefix_of(base, prompts)
    assert len(prefix.ids) == 8
    for together, apart in zip(score_all(base, prompts, prefix), score_all(base, prompts, None), strict=True):
        assert together == pytest.approx(apart, abs=1e-3)
    assert generate_all(base, prompts, prefix) == generate_all(base, prompts, None)


SHAPES = {
    "learned positions": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "biased queries": {**SHAPE, "model_type": "qwen2"},
    "no groups": {**SHAPE, "num_key_value_heads": 4},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_other_architectures_share_a_prefix(shape: dict[str, Any]) -> None:
    base = loading.load(replace(TINY, shape=shape), None)
    prompts = [prompt_of(base, text) for text in PROMPTS["one is nearly the beginning of the next"]]
    prefix = prefix_of(base, prompts)
    for together, apart in zip(score_all(base, prompts, prefix), score_all(base, prompts, None), strict=True):
        assert together == pytest.approx(apart, abs=1e-3)
    assert generate_all(base, prompts, prefix) == generate_all(base, prompts, None)


FOREIGN = {
    "sliding windows": {**SHAPE, "model_type": "mistral", "sliding_window": 16},
    "positions in the mask": {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "no attention": {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
}


@pytest.mark.parametrize("shape", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_cannot_share_answers_all_the_same(shape: dict[str, Any]) -> None:
    base = loading.load(replace(TINY, shape=shape), None)
    prompts = [prompt_of(base, text) for text in PROMPTS["the same twice"]]
    assert SharedPrefix.of(base.model, prompts) is None
    expected = [
        score_separately(base.model, prompts[0], Encoder(base.tokenizer).completion(choice)) for choice in CHOICES
    ]
    assert score_all(base, prompts, None)[0] == pytest.approx(expected, abs=1e-3)
    assert len(generate_all(base, prompts, None)) == 2


def test_prompts_without_a_common_beginning_share_nothing() -> None:
    base = load_tiny()
    prompts = [[5, 6, 7, 8, 9, 10], [6, 6, 7, 8, 9, 10]]
    assert SharedPrefix.of(base.model, prompts) is None
    assert SharedPrefix.of(base.model, [[5]]) is None
    assert SharedPrefix.of(base.model, []) is None
    assert len(generate_all(base, prompts, None)) == 2


def test_one_request_after_a_prefix_is_answered_as_without(base: loading.Base) -> None:
    encoder = Encoder(base.tokenizer)
    prompts = [prompt_of(base, text) for text in PROMPTS["very different lengths"]]
    prefix = prefix_of(base, prompts)
    choices = [encoder.completion(choice) for choice in CHOICES]
    for prompt in prompts:
        for allowed in ([], choices):
            alone, after = (decode(base.model, prompt, encoder.end_of_turn, 6, allowed, p) for p in (None, prefix))
            assert after.ids == alone.ids


def test_memory_that_runs_out_while_probing_does_not_rule_out_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_tiny()
    prompts = [prompt_of(base, text) for text in PROMPTS["the same twice"]]

    def full(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")

    with monkeypatch.context() as patched:
        patched.setattr(SharedPrefix, "read", full)
        with pytest.raises(RuntimeError, match="CUBLAS"):
            SharedPrefix.of(base.model, prompts)
    assert SharedPrefix.of(base.model, prompts) is not None


@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_attention_with_repeated_keys_is_grouped_attention(kv_heads: int, scaling: float | None) -> None:
    """What a CUDA device computes, computed here."""
    torch.manual_seed(0)
    query = torch.randn(3, 6, 5, 8, dtype=torch.float64)
    keys, values = (torch.randn(3, kv_heads, 9, 8, dtype=torch.float64) for _ in range(2))
    mask = torch.zeros(3, 1, 5, 9, dtype=torch.float64).masked_fill_(torch.rand(3, 1, 5, 9) < 0.3, -1e9)
    on_cpu, on_cuda = (
        shared_prefix._grouped_attention(query, keys, values, mask, scaling, kind) for kind in ("cpu", "cuda")
    )
    torch.testing.assert_close(on_cuda, on_cpu, rtol=0, atol=1e-12)


def test_only_a_cpu_is_given_grouped_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda query, keys, values, mask, scale, enable_gqa: calls.append((keys.shape[1], enable_gqa)),
    )
    query, keys, mask = torch.zeros(1, 4, 2, 8), torch.zeros(1, 2, 3, 8), torch.zeros(1, 1, 2, 3)
    for kind in ("cpu", "cuda"):
        shared_prefix._grouped_attention(query, keys, keys, mask, None, kind)
    assert calls == [(2, True), (4, False)]


def test_answers_are_the_same_with_repeated_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    base, genuine = load_tiny(), shared_prefix._grouped_attention
    prompts = [prompt_of(base, text) for text in PROMPTS["very different lengths"]]
    monkeypatch.setattr(shared_prefix, "_COPIES", 1000)
    monkeypatch.setattr(shared_prefix, "_grouped_attention", lambda *given: genuine(*given[:-1], "cuda"))
    prefix = prefix_of(base, prompts)
    for together, apart in zip(score_all(base, prompts, prefix), score_all(base, prompts, None), strict=True):
        assert together == pytest.approx(apart, abs=1e-3)
    assert generate_all(base, prompts, prefix) == generate_all(base, prompts, None)


def test_indices_are_moved_to_the_device_of_the_buffers() -> None:
    """The device `meta` stands for a GPU: tensors without data, which never mix with those of the CPU."""
    layer = DynamicLayer()
    layer.keys = layer.values = torch.zeros(1, 2, 4, 8, device="meta")
    own = Own([layer], 5, 16)
    own.aim(slice(1, 4), torch.tensor([[0, 1], [2, 3], [6, 7]]))
    assert own.seen == 8
    assert {own.slots.device.type, own.rows.device.type} == {"meta"}
    states = torch.zeros(3, 2, 2, 8, device="meta")
    assert [tuple(kept.shape) for kept in own.add(0, (states, states))] == [(3, 2, 8, 8)] * 2


def test_keys_are_put_into_their_slots() -> None:
    layer = DynamicLayer()
    layer.keys = layer.values = torch.zeros(1, 1, 4, 1)
    own = Own([layer], 3, 4)
    own.aim(slice(1, 3), torch.tensor([[0, 1], [1, 2]]))
    keys, _ = own.add(0, [torch.tensor([[[[1.0], [2.0]]], [[[3.0], [4.0]]]])] * 2)
    assert keys[:, 0, :, 0].tolist() == [[1, 2, 0], [0, 3, 4]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_is_made_on_the_device(dtype: torch.dtype) -> None:
    seen = torch.tensor([[[True, False], [True, True]]])
    cpu, device = (SimpleNamespace(dtype=dtype, device=torch.device(name)) for name in ("cpu", "meta"))
    lowest = torch.finfo(dtype).min
    assert torch.equal(additive(seen, cpu), torch.tensor([[[[0, lowest], [0, 0]]]], dtype=dtype))
    assert (additive(seen, device).device.type, additive(seen, device).shape) == ("meta", (1, 1, 2, 2))


def test_half_precision_scores_are_computed_in_float32() -> None:
    """As torch's own attention does: rounding them to bfloat16 before the softmax costs several times the error."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, width, 64, generator=generator) for width in (3, 200, 200))
    query, key, value = ((5 * query).bfloat16(), key.bfloat16(), value.bfloat16())
    exact = torch.nn.functional.scaled_dot_product_attention(query.float(), key.float(), value.float(), scale=0.125)
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            values, total, _ = shared_prefix._part(0.125 * query.float(), key, value, None)
        error = (values / total - exact).abs().mean()
        assert error < 2e-3, error
    rounded = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=0.125).float()
    assert (values / total - exact).abs().mean() < 3 * (rounded - exact).abs().mean()
