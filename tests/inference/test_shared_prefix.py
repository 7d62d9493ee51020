"""A prefix that is read once changes no score and no answer."""

from dataclasses import replace
from typing import Any

import pytest

from harness.contexts.chat_format import Encoder
from harness.inference import shared_prefix
from harness.inference.generate import decode
from harness.inference.shared_prefix import SharedPrefix
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
