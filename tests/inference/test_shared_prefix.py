"""Scoring and decoding against the plainest way to do the same."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import peft
import pytest
import torch

from harness.contexts.chat_format import Encoder
from harness.inference import shared_prefix
from harness.inference.choices import Question, score_choices
from harness.inference.generate import decode, generate
from harness.inference.shared_prefix import SharedPrefix
from harness.models import loading
from tests.tiny_model import NF4, SHAPE, TINY


def load_tiny() -> loading.Base:
    return loading.load(TINY, None)


def load_adapted(config: peft.PeftConfig) -> loading.Base:
    base = load_tiny()
    torch.manual_seed(1)
    return loading.Base(peft.get_peft_model(base.model, config).eval(), base.tokenizer)


KINDS: dict[str, Callable[[], loading.Base]] = {
    "base": load_tiny,
    "4-bit": lambda: loading.load(TINY, NF4),
    "lora": lambda: load_adapted(
        peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    ),
    "prefix": lambda: load_adapted(peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")),
    "prompt tuning": lambda: load_adapted(peft.PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")),
}
CHOICES = ["billing", "bill", "billing department", "returns", "re"]


@pytest.fixture(params=KINDS)
def base(request: pytest.FixtureRequest) -> loading.Base:
    return KINDS[request.param]()


def prompt_of(base: loading.Base, text: str = "Which queue?") -> list[int]:
    return Encoder(base.tokenizer).prompt([{"role": "user", "content": text}])


@torch.no_grad()
def score_separately(model: Any, prompt: list[int], choice: list[int]) -> float:
    """The definition: one sequence a choice, no cache."""
    ids = torch.tensor([prompt + choice])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    added = logits.shape[0] - ids.shape[1]  # a soft prompt's positions
    following = logits.float().log_softmax(-1)[added + len(prompt) - 1 : -1]
    return float(following.gather(1, torch.tensor(choice)[:, None]).sum())


def ignore_progress(done: int, total: int) -> None:
    pass


def prefix_of(base: loading.Base, prompts: list[list[int]]) -> SharedPrefix:
    prefix = SharedPrefix.of(base.model, prompts)
    assert prefix is not None
    return prefix


def score_all(base: loading.Base, prompts: list[list[int]], prefix: SharedPrefix | None) -> list[list[float]]:
    choices = [Encoder(base.tokenizer).completion(choice) for choice in CHOICES]
    return score_choices(base.model, [Question(prompt, choices) for prompt in prompts], prefix, ignore_progress)


def generate_all(
    base: loading.Base, prompts: list[list[int]], prefix: SharedPrefix | None, rows: int = 3
) -> list[list[int]]:
    return generate(base.model, Encoder(base.tokenizer), prompts, 6, rows, prefix, ignore_progress)


def test_a_choice_is_scored_as_the_sequence_that_it_is(base: loading.Base) -> None:
    encoder, prompt = Encoder(base.tokenizer), prompt_of(base)
    expected = [score_separately(base.model, prompt, encoder.completion(choice)) for choice in CHOICES]
    assert score_all(base, [prompt], None) == [pytest.approx(expected, abs=1e-3)]


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


def test_rows_leave_and_others_take_their_places(base: loading.Base) -> None:
    """An answer that ends at once, and more prompts than rows."""
    prompts = [prompt_of(base, f"{'a ' * n}{n}") for n in (3, 40, 11, 25, 1, 7, 8, 9, 2)]
    apart = generate_all(base, prompts, None, rows=1)
    ends = Encoder(base.tokenizer).end_of_turn
    early = next(token for answer in apart for token in answer[:2])
    for end in (ends, early):
        encoder = Ending(base.tokenizer, end)
        expected = generate(base.model, encoder, prompts, 6, 1, None, ignore_progress)
        for rows in (1, 2, 5, 16):
            assert (
                generate(base.model, encoder, prompts, 6, rows, prefix_of(base, prompts), ignore_progress) == expected
            )


class Ending(Encoder):
    """An encoder for which a turn ends with a token of the test's choice."""

    def __init__(self, tokenizer: Any, end: int) -> None:
        super().__init__(tokenizer)
        object.__setattr__(self, "_end", end)

    @property
    def end_of_turn(self) -> int:
        return int(self._end)  # type: ignore[attr-defined]


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


def test_a_batch_that_is_too_large_is_tried_in_half(monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_tiny()
    prompts = [prompt_of(base, f"{'a ' * n}{n}") for n in range(9)]
    prefix, tried, genuine = prefix_of(base, prompts), [], SharedPrefix.own

    def small(self: SharedPrefix, rows: int, room: int) -> Any:
        tried.append(rows)
        if rows > 2:
            raise torch.OutOfMemoryError("too much")
        return genuine(self, rows, room)

    monkeypatch.setattr(SharedPrefix, "own", small)
    assert generate_all(base, prompts, prefix, rows=8) == generate_all(base, prompts, None)
    assert tried == [8, 4, 2]
    monkeypatch.setattr(SharedPrefix, "own", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("too much")))
    with pytest.raises(torch.OutOfMemoryError):
        generate_all(base, prompts, prefix)


@torch.no_grad()
def test_one_request_is_decoded_as_the_plain_greedy_loop_does(base: loading.Base) -> None:
    prompt, ids = prompt_of(base), []
    for _ in range(6):
        inputs = torch.tensor([prompt + ids])
        logits = base.model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
        ids.append(int(logits[0, -1].argmax()))
    assert decode(base.model, prompt, end_of_turn=-1, most=6).ids == ids


def test_one_request_after_a_prefix_is_answered_as_without(base: loading.Base) -> None:
    encoder = Encoder(base.tokenizer)
    prompts = [prompt_of(base, text) for text in PROMPTS["very different lengths"]]
    prefix = prefix_of(base, prompts)
    choices = [encoder.completion(choice) for choice in CHOICES]
    for prompt in prompts:
        for allowed in ([], choices):
            alone, after = (decode(base.model, prompt, encoder.end_of_turn, 6, allowed, p) for p in (None, prefix))
            assert after.ids == alone.ids


def test_a_constrained_answer_is_one_of_the_choices(base: loading.Base) -> None:
    encoder = Encoder(base.tokenizer)
    choices = [encoder.completion(choice) for choice in CHOICES]
    for text in ("a", "b", "c", "d"):
        decoded = decode(base.model, prompt_of(base, text), encoder.end_of_turn, 2, choices)
        assert encoder.decode(decoded.ids) in CHOICES


def test_a_completion_ends_where_the_turn_ends() -> None:
    encoder = Encoder(load_tiny().tokenizer)
    ids = encoder.completion("red")
    assert ids[-1] == encoder.end_of_turn
    assert encoder.decode([*ids, *encoder.completion("more")]) == "red"


def test_without_a_chat_template_demonstrations_are_text() -> None:
    tokenizer = load_tiny().tokenizer
    tokenizer.chat_template = None
    turns = [("user", "Q1"), ("assistant", "A1"), ("user", "Q2")]
    text = Encoder(tokenizer).text([{"role": role, "content": content} for role, content in turns])
    assert text == "Q1\nAnswer: A1\n\nQ2\nAnswer:"
