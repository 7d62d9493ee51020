"""The harness's side of `make bench`, in a process of its own as the peers are: what a run would compute."""

import harness.sweep.preload  # noqa: F401  # isort: skip  (as runs have it)

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import set_seed

from harness.adaptation import peft_model
from harness.adaptation.batches import Rows
from harness.adaptation.train import train
from harness.contexts.chat_format import Encoder
from harness.inference.choices import Question, score_choices
from harness.inference.generate import generate as greedy
from harness.inference.shared_prefix import SharedPrefix
from harness.measurement.meter import Meter
from harness.models.loading import Base
from harness.sweep.compose import compositions

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from talk import serve

BASES: dict[str, Base] = {}


def load(overrides: list[str]) -> None:
    (settings,) = compositions(overrides)
    BASES["base"] = peft_model.attach(settings.adaptation, settings.model)


def choices(questions: list[dict[str, Any]]) -> dict[str, Any]:
    base, encoder = BASES["base"], Encoder(BASES["base"].tokenizer)
    began = time.perf_counter()
    prompts = [encoder.tokenizer(question["prompt"], add_special_tokens=False)["input_ids"] for question in questions]
    encoded = [[encoder.completion(choice) for choice in question["choices"]] for question in questions]
    prefix = SharedPrefix.of(base.model, prompts)
    asked = [Question(*pair) for pair in zip(prompts, encoded, strict=True)]
    scores = score_choices(base.model, asked, prefix, quiet)
    seconds = time.perf_counter() - began
    assert prefix is not None
    read = len(prefix.ids) + sum(len(prefix.rest(q.prompt)) + branches(q.choices) for q in asked)
    apart = sum(len(q.prompt) + len(choice) - 1 for q in asked for choice in q.choices)
    return {"seconds": seconds, "scores": scores, "tokens": {"shared": read, "apart": apart}}


def branches(choices: Sequence[Sequence[int]]) -> int:
    """Tokens of a tree of choices; the last of a choice is predicted and not read."""
    return len({tuple(choice[:length]) for choice in choices for length in range(1, len(choice))})


def generate(prompts: list[str], most: int) -> dict[str, Any]:
    base, encoder = BASES["base"], Encoder(BASES["base"].tokenizer)
    began = time.perf_counter()
    ids = [encoder.tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    prefix = SharedPrefix.of(base.model, ids)
    said = greedy(base.model, encoder, ids, most, None, prefix, quiet)
    answers = [encoder.decode(answer) for answer in said]
    return {"seconds": time.perf_counter() - began, "answers": answers, "tokens": sum(map(len, said))}


def fit(overrides: list[str], rows: list[dict[str, str]]) -> dict[str, Any]:
    """Train a fresh adapter on texts; seconds of the whole training, as the peer's are."""
    (settings,) = compositions(overrides)
    set_seed(0)
    base = peft_model.attach(settings.adaptation, settings.model)
    encoder = Encoder(base.tokenizer)
    inputs, labels = [], []
    for row in rows:
        prompt = encoder.tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
        completion = encoder.completion(row["completion"])
        inputs.append(prompt + completion)
        labels.append([-100] * len(prompt) + completion)
    encoded = Rows(inputs, labels)
    began = time.perf_counter()
    facts = train(base, encoded, Rows([], []), settings.training, settings.learning_rates[0], 0, Meter(), quiet)
    return {"seconds": time.perf_counter() - began, "loss": facts["final_train_loss"], "tokens": facts["tokens"]}


def quiet(done: int, total: int) -> None:
    pass


serve({"load": load, "choices": choices, "generate": generate, "fit": fit})
