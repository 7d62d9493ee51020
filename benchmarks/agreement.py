"""Whether generated answers are those of `model.generate` without any cache, and scores those of float64.

    python benchmarks/agreement.py DIR [--items 200] [--tokens 8] [--scored 10]

DIR holds banking77 and squad as folders of rows. First the log-likelihoods of banking77's first 8 labels after some
messages, both ways in float32, against one sequence a choice in float64. Then the same prompts are answered with a
shared prefix, rows that leave and others that take their places, and by transformers with `use_cache=False`, which
reads everything again for each token. Prints how many answers are the same, and for each that is not the two
likeliest tokens where they part. Four minutes on two cores.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import harness.sweep.preload  # noqa: F401  # isort: skip  (as runs have it)

import torch
from bench import LABELS, Asked
from transformers import GenerationConfig

from harness.contexts.chat_format import Encoder
from harness.inference.choices import Question, score_choices
from harness.inference.generate import generate
from harness.inference.shared_prefix import SharedPrefix, read
from harness.measurement.machine import describe_device
from harness.models import loading

BATCH = 20


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--items", type=int, default=200)
    arguments.add_argument("--tokens", type=int, default=8)
    arguments.add_argument("--scored", type=int, default=10)
    chosen = arguments.parse_args()
    asked = Asked(chosen.data.resolve(), "smollm2-135m-q4")
    base = loading.load(asked.settings("task=squad").model, None)
    encoder = Encoder(base.tokenizer)
    scores(asked, base, encoder, chosen.scored)
    texts = [text for text, _ in asked.prompts("squad", "zero_shot", chosen.items)]
    prompts = [encoder.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    prefix = SharedPrefix.of(base.model, prompts)
    assert prefix is not None
    ours = generate(base.model, encoder, prompts, chosen.tokens, None, prefix, lambda *_: None)
    theirs = without_cache(base, encoder, prompts, chosen.tokens)
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"{describe_device()[0]}: {same} of {len(prompts)} answers of at most {chosen.tokens} tokens are the same")
    for prompt, one, other in zip(prompts, ours, theirs, strict=True):
        if one != other:
            print(parting(base, prompt, one, other))


def scores(asked: Asked, base: loading.Base, encoder: Encoder, count: int) -> None:
    """Print how far both ways to score choices in float32 lie from float64, and how far they lie apart in float64."""
    double = loading.load(replace(asked.settings("task=banking77").model, dtype="float64"), None).model
    questions = []
    for text, example in asked.prompts("banking77", "zero_shot", count, LABELS):
        ids = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
        questions.append(Question(ids, [encoder.completion(choice) for choice in example.choices]))
    prompts = [question.prompt for question in questions]

    def found(model: torch.nn.Module, *, shared: bool) -> torch.Tensor:
        prefix = SharedPrefix.of(model, prompts) if shared else None
        assert (prefix is not None) == shared
        return torch.tensor(score_choices(model, questions, prefix, lambda *_: None), dtype=torch.float64)

    exact = found(double, shared=False)
    print(f"{exact.numel()} choices, log-likelihoods down to {float(exact.min()):.0f} nats, against float64:")
    for name, values in (
        ("shared, float32", found(base.model, shared=True)),
        ("apart, float32", found(base.model, shared=False)),
        ("shared, float64", found(double, shared=True)),
    ):
        distance = (values - exact).abs()
        print(f"  {name}: {float(distance.mean()):.1e} on average, {float(distance.max()):.1e} at most", flush=True)


@torch.inference_mode()
def without_cache(base: loading.Base, encoder: Encoder, prompts: list[list[int]], most: int) -> list[list[int]]:
    end = encoder.end_of_turn
    greedily = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,
        use_cache=False,
        eos_token_id=end,
        pad_token_id=encoder.tokenizer.pad_token_id,
    )
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, list[int]] = {}
    for start in range(0, len(order), BATCH):
        some = order[start : start + BATCH]
        padded = encoder.tokenizer.pad(
            {"input_ids": [prompts[i] for i in some]}, padding_side="left", return_tensors="pt"
        )
        out = base.model.generate(**padded, generation_config=greedily)[:, padded["input_ids"].shape[1] :].tolist()
        found |= {i: row[: row.index(end) + 1] if end in row else row for i, row in zip(some, out, strict=True)}
        print(f"{len(found)} of {len(prompts)}", flush=True)
    return [found[i] for i in range(len(prompts))]


def parting(base: loading.Base, prompt: list[int], one: list[int], other: list[int]) -> str:
    """How close the two likeliest tokens are where two answers part."""
    at = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    with torch.inference_mode():
        logits = read(base.model, [*prompt, *one[:at]]).logits[0, -1]
    first, second = logits.topk(2).values.tolist()
    return f"part at token {at + 1}: the two likeliest differ by {first - second:.1e} in their logits"


if __name__ == "__main__":
    main()
