"""What a model in a context can do and what it costs: every item's answer and score, latency, and the adapter merged.

answers = answer(respondent, test, "answering test")
quality(task, answers)       # {"metric": "accuracy", "value": 0.61, "low": 0.43, "high": 0.76, "n": 32, ...}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness import answering
from harness.contexts import Context
from harness.measure import now, summary
from harness.memory import keeping_freed
from harness.metrics import METRICS
from harness.models import Base
from harness.progress import Progress
from harness.prompts import Encoder, Prompt
from harness.scoring import Judge, scorer
from harness.shared_prefix import SharedPrefix
from harness.stats import interval
from harness.tasks import Example, Task

Predictions = list[dict[str, Any]]


@dataclass(frozen=True)
class Respondent:
    """A model that answers a task's questions in a context."""

    task: Task
    base: Base
    context: Context
    measure: dict[str, Any]
    # latency_requests, warmup_requests, fixed_tokens, fixed_requests, merged_items, batch_size
    progress: Progress

    @property
    def model(self) -> Any:
        return self.base.model

    @property
    def encoder(self) -> Encoder:
        return Encoder(self.base.tokenizer)

    @cached_property
    def judge(self) -> Judge:
        return scorer(self.task)

    def prompt(self, example: Example) -> Prompt:
        most = max(self.task.max_new_tokens, self.measure.get("fixed_tokens") or 0)
        return self.encoder.fit(self.context, example, self.longest - most)

    @property
    def longest(self) -> int:
        """The most tokens of prompt and answer that the model takes."""
        return getattr(self.model.config, "max_position_embeddings", None) or 10**9


def answer(respondent: Respondent, examples: Sequence[Example], label: str, *, freely: bool = False) -> Predictions:
    """Every example's answer with its scores; one that does not fit the model is unscored, never wrong.

    A choice is scored by likelihood; `freely` also records what the model would have said by itself.
    """
    most = respondent.task.max_new_tokens
    prompts = {example.id: respondent.prompt(example) for example in examples}
    fitting = [example for example in examples if len(prompts[example.id].ids) + most <= respondent.longest]
    prefix = _prefix(respondent, [prompts[example.id].ids for example in fitting])
    with keeping_freed():
        said = _generate(respondent, [e for e in fitting if freely or not e.choices], prompts, prefix, label)
        scored = _score(respondent, [e for e in fitting if e.choices], prompts, prefix, f"{label}: scoring")
    predictions = []
    for example in examples:
        row = _asked(respondent, example, prompts[example.id])
        if example.id in scored.found:
            row |= _judge_choice(respondent, example, scored.found[example.id], said.found.get(example.id))
            row["milliseconds"] = scored.milliseconds
        elif example.id in said.found:
            row |= _judge_text(respondent, example, said.found[example.id])
            row["milliseconds"] = said.milliseconds
        else:
            row["unscored"] = f"prompt and answer exceed the model's {respondent.longest} tokens"
        predictions.append(row)
    return predictions


@dataclass(frozen=True)
class _Found:
    """What a model said to some examples, by id, and the milliseconds that each took in its batch."""

    found: dict[str, Any]
    milliseconds: float

    @classmethod
    def timed(cls, examples: Sequence[Example], work: Callable[[], list[Any]]) -> _Found:
        began = now()
        found = work()
        seconds = now() - began
        return cls({e.id: one for e, one in zip(examples, found, strict=True)}, 1000 * seconds / max(1, len(found)))


def _generate(
    respondent: Respondent,
    examples: Sequence[Example],
    prompts: dict[str, Prompt],
    prefix: SharedPrefix | None,
    label: str,
) -> _Found:
    asked = [prompts[example.id].ids for example in examples]
    most, size = respondent.task.max_new_tokens, respondent.measure["batch_size"]
    model, encoder, progress = respondent.model, respondent.encoder, respondent.progress.labelled(label)
    return _Found.timed(examples, lambda: answering.generate(model, encoder, asked, most, size, prefix, progress))


def _score(
    respondent: Respondent,
    examples: Sequence[Example],
    prompts: dict[str, Prompt],
    prefix: SharedPrefix | None,
    label: str,
) -> _Found:
    choices = [[respondent.encoder.completion(choice) for choice in example.choices] for example in examples]
    asked = [answering.Question(prompts[e.id].ids, encoded) for e, encoded in zip(examples, choices, strict=True)]
    return _Found.timed(
        examples,
        lambda: answering.score_choices(respondent.model, asked, prefix, respondent.progress.labelled(label)),
    )


def _prefix(respondent: Respondent, prompts: Sequence[Sequence[int]]) -> SharedPrefix | None:
    """What all prompts begin with, read once; None where that is not wanted or cannot be."""
    return SharedPrefix.of(respondent.model, prompts) if respondent.measure["prefix_cache"] else None


def _asked(respondent: Respondent, example: Example, prompt: Prompt) -> dict[str, Any]:
    """What a prediction says of its question; the answer is still to come."""
    return {
        "id": example.id,
        "prompt": prompt.text,
        "completion": None,
        "score": None,
        "evidence": [passage.id for passage in respondent.context.passages(example)],
        "prompt_tokens": len(prompt.ids),
        "demonstrations_left_out": prompt.left_out,
        "completion_tokens": None,
        "milliseconds": None,
        "slice": example.slice,
        "cluster": example.cluster,
    }


def _judge_text(respondent: Respondent, example: Example, ids: list[int]) -> dict[str, Any]:
    task, text = respondent.task, respondent.encoder.decode(ids)
    metrics = respondent.judge(text, example)
    return {
        "completion": text,
        "score": metrics[task.metric],
        "metrics": metrics,
        "completion_tokens": len(ids),
    }


def _judge_choice(
    respondent: Respondent, example: Example, scores: list[float], generated: list[int] | None
) -> dict[str, Any]:
    """The likeliest choice; beside it the likeliest per byte, and what the model said freely where it was asked."""
    by_byte = [score / len(choice.encode()) for score, choice in zip(scores, example.choices, strict=True)]
    said = None if generated is None else respondent.encoder.decode(generated)
    chosen, per_byte = (example.choices[values.index(max(values))] for values in (scores, by_byte))
    accuracy = METRICS["accuracy"]
    metrics = {
        "accuracy": accuracy(chosen, example.answers),
        "accuracy_per_byte": accuracy(per_byte, example.answers),
        **({} if said is None else {"accuracy_generated": accuracy(said, example.answers)}),
    }
    return {
        "completion": chosen,
        "generated": said,
        "score": metrics[respondent.task.metric],
        "metrics": metrics,
        "log_likelihoods": {choice: round(score, 4) for choice, score in zip(example.choices, scores, strict=True)},
        "completion_tokens": len(respondent.encoder.completion(chosen)),
    }


def quality(task: Task, predictions: Predictions, *, brief: bool = False) -> dict[str, Any]:
    """The primary metric with its interval; unless brief also the others, and the primary one by slice.

    Items that share a cluster (a template, a document) are no independent ones, and the interval knows it.
    """
    scored = [p for p in predictions if p["score"] is not None]
    found = interval([p["score"] for p in scored], [p["cluster"] for p in scored])
    primary = {
        "metric": task.metric,
        "value": found.value if found else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "n": len(scored),
    }
    if brief:
        return primary
    names = dict.fromkeys(name for p in scored for name in p["metrics"])
    slices = sorted({p["slice"] for p in scored if p["slice"] is not None})
    return {
        **primary,
        "unscored": len(predictions) - len(scored),
        "metrics": {name: _mean([p["metrics"][name] for p in scored if name in p["metrics"]]) for name in names},
        "slices": {name: _slice([p["score"] for p in scored if p["slice"] == name]) for name in slices},
    }


def _slice(scores: list[float]) -> dict[str, float]:
    return {"value": _mean(scores), "n": len(scores)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def latency(respondent: Respondent, examples: Sequence[Example]) -> dict[str, Any]:
    """One request at a time, from the question to the answer: retrieval, rendering, tokenising, reading, answering.

    Milliseconds: latency_ms; first_token_ms and per_token_ms, the time of each further token (None for a choice, which
    is one constrained answer); retrieval_ms. The answer ends where the model ends it. `fixed`: the same once more with
    an answer of measure.fixed_tokens for every method, whatever the model would say; None where that is not asked for.
    Without requests everything is None.
    """
    how = respondent.measure
    if not how["latency_requests"]:
        return dict.fromkeys(("latency_ms", "first_token_ms", "per_token_ms", "fixed", "retrieval_ms"))
    for example in _requested(examples, how["warmup_requests"]):
        _request(respondent, example)
    index = respondent.context.index
    searched = len(index.search_seconds) if index else 0
    asked = [_timed(respondent, example) for example in _requested(examples, how["latency_requests"])]
    choice = respondent.task.kind == "choice"
    found = {
        "latency_ms": summary([whole for whole, _, _ in asked]),
        "first_token_ms": None if choice else summary([first for _, first, _ in asked]),
        "per_token_ms": None if choice else summary([each for _, _, each in asked if each is not None]),
        "fixed": _fixed(respondent, examples) if how["fixed_tokens"] and how["fixed_requests"] else None,
    }
    if index:
        found["retrieval_ms"] = summary([1000 * seconds for seconds in index.search_seconds[searched:]])
    return found


def prefix_cached(respondent: Respondent, examples: Sequence[Example]) -> dict[str, Any] | None:
    """Latency on a server that has read what all prompts begin with, and how many tokens that is.

    Every other latency is of one that reads each prompt from its first token. None where no prefix is shared or no
    request is made.
    """
    requests = respondent.measure["cached_requests"]
    requests = respondent.measure["latency_requests"] if requests is None else requests
    if not requests:
        return None
    prefix = _prefix(respondent, [respondent.prompt(example).ids for example in examples])
    if prefix is None:
        return None
    asked = _requested(examples, requests)
    whole = [_timed(respondent, example, prefix=prefix)[0] for example in asked]
    return {"tokens": len(prefix.ids), "latency_ms": summary(whole)}


def _requested(examples: Sequence[Example], count: int) -> list[Example]:
    return [examples[i % len(examples)] for i in range(count)]


def _fixed(respondent: Respondent, examples: Sequence[Example]) -> dict[str, Any]:
    tokens = respondent.measure["fixed_tokens"]
    asked = [_timed(respondent, e, tokens) for e in _requested(examples, respondent.measure["fixed_requests"])]
    whole, first, each = ([times[i] for times in asked if times[i] is not None] for i in range(3))
    return {
        "tokens": tokens,
        "latency_ms": summary(whole),  # type: ignore[arg-type]
        "first_token_ms": summary(first),  # type: ignore[arg-type]
        "per_token_ms": summary(each),  # type: ignore[arg-type]
    }


def _timed(
    respondent: Respondent, example: Example, fixed_tokens: int | None = None, prefix: SharedPrefix | None = None
) -> tuple[float, float, float | None]:
    """Milliseconds of one request as a server would have it: whole, to the first token, and of each further token."""
    respondent.context.forget()
    began = now()
    before, decoded = _request(respondent, example, fixed_tokens, prefix)
    whole = now() - began
    further = len(decoded.ids) - 1
    each = 1000 * (decoded.seconds - decoded.first_token_seconds) / further if further else None
    respondent.progress.step("latency", 0, 0)
    return 1000 * whole, 1000 * (before + decoded.first_token_seconds), each


def _request(
    respondent: Respondent, example: Example, fixed_tokens: int | None = None, prefix: SharedPrefix | None = None
) -> tuple[float, answering.Decoded]:
    """Answer one question; seconds until the model begins, and what it said."""
    began = now()
    prompt = respondent.prompt(example)
    choices = [] if fixed_tokens else [respondent.encoder.completion(choice) for choice in example.choices]
    before = now() - began
    end = None if fixed_tokens else respondent.encoder.end_of_turn
    most = fixed_tokens or respondent.task.max_new_tokens
    return before, answering.decode(respondent.model, prompt.ids, end, most, choices, prefix)


def merged(respondent: Respondent, examples: Sequence[Example], unmerged: Predictions) -> dict[str, Any]:
    """Latency and quality with the adapter folded into the weights, and how far its logits move.

    Where the tuner refuses: `refused`, what PEFT said; the model may then be merged in part and answers nothing more.
    Quality is of the first items only, enough to see that merging changed nothing. Unmerged again afterwards.
    """
    some = list(examples[: respondent.measure["merged_items"]])
    prompts = [respondent.prompt(example).ids for example in some]
    before = [answering.last_logits(respondent.model, prompt) for prompt in prompts]
    try:
        respondent.model.merge_adapter()
    except (NotImplementedError, ValueError) as cause:  # how PEFT says that a tuner cannot
        return {"refused": f"{type(cause).__name__}: {cause}"}
    after = [answering.last_logits(respondent.model, prompt) for prompt in prompts]
    timed = latency(respondent, examples)
    answers = answer(respondent, some, "answering merged")
    respondent.model.unmerge_adapter()
    said = {p["id"]: p["completion"] for p in unmerged}
    return {
        "latency_ms": timed["latency_ms"],
        "fixed": timed["fixed"],
        "quality": {
            **quality(respondent.task, answers, brief=True),
            "same_answers": sum(said[p["id"]] == p["completion"] for p in answers),
        },
        "largest_logit_difference": max(float((a - b).abs().max()) for a, b in zip(after, before, strict=True)),
    }


def retrieval(context: Context, examples: Sequence[Example], timed: dict[str, Any]) -> dict[str, Any] | None:
    """How well passages were found: recall of the gold ones among k, where they stood, and what finding them cost."""
    if context.index is None:
        return None
    found = context.ranking_quality(examples) or dict.fromkeys(("recall", "mrr", "ndcg"))
    return {
        "k": context.k,
        **found,
        "passages": len(context.index.passages),
        "index_seconds": context.index.seconds,
        "index_cached": context.index.cached,
        "latency_ms": timed["retrieval_ms"],
    }
