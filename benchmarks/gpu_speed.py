"""Part 3 of benchmarks/gpu.py: one model's speed beside a plain TRL loop and `model.generate`, in one process.

    python benchmarks/gpu_speed.py --model shape-qwen2.5-0.5b --rows 192 --prompts 128

Both sides use the same token rows, weights, precision and batch size, in turn, in three rounds after one that is not
counted. Prints one JSON object: the sides' figures and the median of the rounds' ratios, over 1 where the harness is
faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, GenerationConfig, set_seed
from trl import SFTConfig, SFTTrainer

from harness.adaptation import allowed_targets, peft_model
from harness.adaptation.batches import IGNORED, Rows
from harness.adaptation.train import train
from harness.contexts.chat_format import Encoder
from harness.contexts.context import bind
from harness.inference.choices import Question, score_choices
from harness.inference.generate import generate
from harness.inference.shared_prefix import SharedPrefix
from harness.measurement.meter import Meter, synchronise
from harness.models import loading
from harness.settings import Settings
from harness.sweep import silent_libraries
from harness.sweep.compose import compositions
from harness.sweep.one_gpu import one_gpu, show_only

ROUNDS = 3
ANSWER_TOKENS = 32
BATCHES = (8, 32, 128)
LEARNING_RATE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shape-qwen2.5-0.5b")
    parser.add_argument("--rows", type=int, default=192, help="training rows")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    silent_libraries.silence()
    silent_libraries.silence_bars()
    words, batch = ["task=ticket_routing", f"model={args.model}"], f"training.batch_size={args.batch}"
    (lora,) = compositions([*words, "method=lora", "training.epochs=1", batch])
    (few_shot,) = compositions([*words, "method=few_shot", "context.k=8"])
    with one_gpu(lambda text: print(text, file=sys.stderr)) as uuid:
        show_only(uuid)
        print(json.dumps({**training(lora, args.rows), **answering(few_shot, args.prompts), **choosing(few_shot)}))


def training(settings: Settings, count: int) -> dict[str, float]:
    """Tokens a second of training a LoRA."""
    assert settings.training
    options = replace(settings.training, early_stopping_patience=None)
    task = settings.load_task()
    tokenizer = loading.load_tokenizer(settings.model)
    rows = Rows.encode(bind(settings.context, task, (), 0), Encoder(tokenizer), task.take("train", count), 2048)
    tokens = sum(map(len, rows.input_ids))

    def ours() -> float:
        base = peft_model.attach(settings.adaptation, settings.model)
        return timed(lambda: train(base, rows, Rows([], []), options, LEARNING_RATE, 0, Meter(), lambda *_: None))

    def plain() -> float:
        location, _ = loading.locate(settings.model)
        dtype = getattr(torch, settings.model.dtype)
        model = AutoModelForCausalLM.from_pretrained(location, dtype=dtype, device_map={"": loading.device()})
        data = Dataset.from_dict(
            {
                "input_ids": rows.input_ids,
                "completion_mask": [[int(label != IGNORED) for label in row] for row in rows.labels],
            }
        )
        with tempfile.TemporaryDirectory() as folder:
            arguments = SFTConfig(
                output_dir=folder,
                num_train_epochs=1,
                learning_rate=LEARNING_RATE,
                per_device_train_batch_size=options.batch_size,
                lr_scheduler_type="cosine",
                gradient_checkpointing=False,
                bf16=bool(options.bf16),
                max_length=None,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                use_cpu=not torch.cuda.is_available(),
            )
            trainer = SFTTrainer(
                model=model,
                args=arguments,
                train_dataset=data,
                processing_class=tokenizer,
                peft_config=allowed_targets.build(settings.adaptation.peft or {}),
            )
            return timed(trainer.train)

    sides = {"ours": ours, "trl": plain}
    seconds = in_turn(sides)
    return {
        "training tokens/s": tokens / statistics.median(seconds["ours"]),
        "training tokens/s, TRL": tokens / statistics.median(seconds["trl"]),
        "training, times TRL": ratio(seconds, "trl", "ours"),
    }


def answering(settings: Settings, count: int) -> dict[str, float]:
    """Items a second of generating answers of one length."""
    base, prompts = _prompts(settings, count)
    encoder = Encoder(base.tokenizer)
    alone = prompts[: max(4, count // 16)]

    def ours() -> list[list[int]]:
        prefix = SharedPrefix.of(base.model, prompts)
        return generate(base.model, encoder, prompts, ANSWER_TOKENS, None, prefix, lambda *_: None)

    def theirs(some: Sequence[list[int]], size: int) -> list[list[int]]:
        settings = GenerationConfig(max_new_tokens=ANSWER_TOKENS, do_sample=False, pad_token_id=encoder.end_of_turn)
        answers: list[list[int]] = []
        for start in range(0, len(some), size):
            batch = {"input_ids": list(some[start : start + size])}
            padded = base.tokenizer.pad(batch, padding_side="left", return_tensors="pt").to(base.model.device)
            with torch.inference_mode():
                out = base.model.generate(**padded, generation_config=settings)
            answers += out[:, padded["input_ids"].shape[1] :].tolist()
        return answers

    sides: dict[str, Callable[[], float]] = {
        "ours": lambda: timed(ours),
        "alone": lambda: timed(lambda: theirs(alone, 1)),
    }
    for size in BATCHES:
        sides[f"batch {size}"] = lambda size=size: timed(lambda: theirs(prompts, size))  # type: ignore[misc]
    seconds = in_turn(sides)
    per_item = {
        name: [s / (len(alone) if name == "alone" else count) for s in values] for name, values in seconds.items()
    }
    best = min((f"batch {size}" for size in BATCHES), key=lambda name: statistics.median(per_item[name]))
    same = sum(a[: len(b)] == b for a, b in zip(theirs(alone, 1), ours(), strict=False)) / len(alone)
    return {
        "answers/s": 1 / statistics.median(per_item["ours"]),
        "answers/s, generate one at a time": 1 / statistics.median(per_item["alone"]),
        f"answers/s, generate at its best batch ({best.split()[1]})": 1 / statistics.median(per_item[best]),
        "answering, times one at a time": ratio(per_item, "alone", "ours"),
        "answering, times its best batch": ratio(per_item, best, "ours"),
        "answers equal to one at a time": same,
    }


def choosing(settings: Settings, count: int = 32) -> dict[str, float]:
    """Items a second of scoring few-shot choices, with and without the shared prompt prefix."""
    base, prompts = _prompts(settings, count)
    encoder, task = Encoder(base.tokenizer), settings.load_task()
    choices = [encoder.completion(choice) for choice in task.take("test", 1)[0].choices]
    questions = [Question(prompt, choices) for prompt in prompts]

    def scored(shared: bool) -> None:
        prefix = SharedPrefix.of(base.model, prompts) if shared else None
        score_choices(base.model, questions, prefix, lambda *_: None)

    seconds = in_turn({"with": lambda: timed(lambda: scored(True)), "without": lambda: timed(lambda: scored(False))})
    return {
        "choices/s": count / statistics.median(seconds["with"]),
        "choices/s without a shared prefix": count / statistics.median(seconds["without"]),
        "choosing, times without": ratio(seconds, "without", "with"),
    }


def _prompts(settings: Settings, count: int) -> tuple[loading.Base, list[list[int]]]:
    base, task = loading.load(settings.model, None), settings.load_task()
    context = bind(settings.context, task, task.take("train", 64), 0)
    items = task.take("test", count)
    return base, [Encoder(base.tokenizer).prompt(context.render(item)) for item in items]


def in_turn(sides: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Seconds of each side by round, the sides in turn, after a round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(ROUNDS + 1):
        for name, side in sides.items():
            set_seed(0)
            spent = side()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if number:
                seconds[name].append(spent)
    return seconds


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def timed(work: Callable[[], Any]) -> float:
    synchronise()
    began = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
