"""Scoring and decoding against the plainest way to do the same."""

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch

from harness import models
from harness.answering import decode, generate, score_choices, shared_beginning
from harness.prompts import Encoder

TINY = {
    "name": "tiny",
    "source": "random",
    "shape": {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.5,
    },
    "id": None,
    "revision": None,
    "path": None,
    "dtype": "float32",
}
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}


def plain() -> models.Base:
    return models.load(TINY, None)


def adapted(config: peft.PeftConfig) -> models.Base:
    base = plain()
    torch.manual_seed(1)
    return models.Base(peft.get_peft_model(base.model, config).eval(), base.tokenizer)


KINDS: dict[str, Callable[[], models.Base]] = {
    "base": plain,
    "4-bit": lambda: models.load(TINY, NF4),
    "lora": lambda: adapted(
        peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    ),
    "prefix": lambda: adapted(peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")),
    "prompt tuning": lambda: adapted(peft.PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")),
}
CHOICES = ["billing", "bill", "billing department", "returns", "re"]


@pytest.fixture(params=KINDS)
def base(request: pytest.FixtureRequest) -> models.Base:
    return KINDS[request.param]()


def prompt_of(base: models.Base, text: str = "Which queue?") -> list[int]:
    return Encoder(base.tokenizer).prompt([{"role": "user", "content": text}])


@torch.no_grad()
def separately(model: Any, prompt: list[int], choice: list[int]) -> float:
    """The definition: one sequence a choice, no cache."""
    ids = torch.tensor([prompt + choice])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    added = logits.shape[0] - ids.shape[1]  # a soft prompt's positions
    following = logits.float().log_softmax(-1)[added + len(prompt) - 1 : -1]
    return float(following.gather(1, torch.tensor(choice)[:, None]).sum())


def test_the_tree_scores_choices_as_separate_sequences_do(base: models.Base) -> None:
    encoder, prompt = Encoder(base.tokenizer), prompt_of(base)
    choices = [encoder.completion(choice) for choice in CHOICES]
    expected = [separately(base.model, prompt, choice) for choice in choices]
    assert score_choices(base.model, prompt, choices) == pytest.approx(expected, abs=1e-3)


@torch.no_grad()
def test_one_request_is_decoded_as_the_plain_greedy_loop_does(base: models.Base) -> None:
    prompt, ids = prompt_of(base), []
    for _ in range(6):
        inputs = torch.tensor([prompt + ids])
        logits = base.model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
        ids.append(int(logits[0, -1].argmax()))
    assert decode(base.model, prompt, end_of_turn=-1, most=6).ids == ids


def test_a_batch_of_unequal_prompts_answers_as_each_alone(base: models.Base) -> None:
    encoder = Encoder(base.tokenizer)
    prompts = [prompt_of(base, "a " * n) for n in (3, 40, 11, 25, 1)]
    together = generate(base.model, encoder, prompts, 6, 3, lambda done, total: None)
    alone = [generate(base.model, encoder, [prompt], 6, 1, lambda done, total: None)[0] for prompt in prompts]
    assert together == alone
    assert together == [decode(base.model, prompt, encoder.end_of_turn, 6).ids for prompt in prompts]


@pytest.mark.parametrize(
    "texts",
    [
        [f"Which queue? {'so ' * n}{n}" for n in (1, 30, 7, 2)],
        ["one " * 20, "one " * 20 + "more", "one " * 21],  # one prompt is nearly the beginning of the next
        ["same", "same"],
    ],
)
def test_a_beginning_read_once_changes_no_answer(base: models.Base, texts: list[str]) -> None:
    encoder = Encoder(base.tokenizer)
    prompts = [prompt_of(base, text) for text in texts]
    shared = shared_beginning(base.model, prompts)
    assert shared is not None
    assert all(tuple(prompt[: len(shared.ids)]) == shared.ids and len(prompt) > len(shared.ids) for prompt in prompts)
    choices = [encoder.completion(choice) for choice in CHOICES]
    for prompt in prompts:
        alone = score_choices(base.model, prompt, choices)
        assert score_choices(base.model, prompt, choices, shared) == pytest.approx(alone, abs=1e-3)
    plain_answers = generate(base.model, encoder, prompts, 6, 3, lambda done, total: None)
    assert generate(base.model, encoder, prompts, 6, 3, lambda done, total: None, shared) == plain_answers


def test_prompts_without_a_common_beginning_share_nothing() -> None:
    model = plain().model
    assert shared_beginning(model, [[5, 6, 7, 8, 9, 10], [6, 6, 7, 8, 9, 10]]) is None
    assert shared_beginning(model, [[5, 6, 7, 8, 9, 10]]) is None
    assert shared_beginning(model, []) is None


def test_a_constrained_answer_is_one_of_the_choices(base: models.Base) -> None:
    encoder = Encoder(base.tokenizer)
    choices = [encoder.completion(choice) for choice in CHOICES]
    for text in ("a", "b", "c", "d"):
        decoded = decode(base.model, prompt_of(base, text), encoder.end_of_turn, 2, choices)
        assert encoder.decode(decoded.ids) in CHOICES


def test_a_completion_ends_where_the_turn_ends() -> None:
    encoder = Encoder(plain().tokenizer)
    ids = encoder.completion("red")
    assert ids[-1] == encoder.end_of_turn
    assert encoder.decode([*ids, *encoder.completion("more")]) == "red"


def test_without_a_chat_template_demonstrations_are_text() -> None:
    tokenizer = plain().tokenizer
    tokenizer.chat_template = None
    turns = [("user", "Q1"), ("assistant", "A1"), ("user", "Q2")]
    text = Encoder(tokenizer).text([{"role": role, "content": content} for role, content in turns])
    assert text == "Q1\nAnswer: A1\n\nQ2\nAnswer:"
