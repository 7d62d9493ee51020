"""lm-evaluation-harness's Hugging Face backend, asked directly: no task files, no metrics, nothing in its way."""

import time
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from talk import serve

MODELS: dict[str, HFLM] = {}


def load(folder: str) -> None:
    MODELS["lm"] = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=1)


def choices(questions: list[dict[str, Any]], batch_size: int) -> dict[str, Any]:
    """Log-likelihood of every choice of every question: {"prompt", "choices"}, all texts."""
    MODELS["lm"].batch_size_per_gpu = batch_size
    asked = [(question["prompt"], choice) for question in questions for choice in question["choices"]]
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(asked)]
    began = time.perf_counter()
    found = MODELS["lm"].loglikelihood(requests, disable_tqdm=True)
    seconds = time.perf_counter() - began
    scores = iter(float(score) for score, _ in found)
    return {"seconds": seconds, "scores": [[next(scores) for _ in question["choices"]] for question in questions]}


def generate(prompts: list[str], most: int, end: str, batch_size: int) -> dict[str, Any]:
    MODELS["lm"].batch_size_per_gpu = batch_size
    how = {"until": [end], "max_gen_toks": most, "do_sample": False, "temperature": 0.0}
    requests = [Instance("generate_until", {}, (prompt, how), i) for i, prompt in enumerate(prompts)]
    began = time.perf_counter()
    found = MODELS["lm"].generate_until(requests, disable_tqdm=True)
    return {"seconds": time.perf_counter() - began, "answers": [answer.strip() for answer in found]}


serve({"load": load, "choices": choices, "generate": generate})
