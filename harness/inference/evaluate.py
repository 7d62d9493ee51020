"""What a model in a context can do and what it costs: every item's answer and score, latency, and the adapter merged.

answers = answer(respondent, test, "answering test")
quality(task, answers)       # {"metric": "accuracy", "value": 0.61, "low": 0.43, "high": 0.76, "n": 32, ...}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harness.contexts.chat_format import Encoder, Prompt
from harness.contexts.context import Context, Material
from harness.contexts.retrieval import mean_ranking_quality
from harness.inference import generate
from harness.inference.choices import Question, score_choices
from harness.inference.shared_prefix import SharedPrefix
from harness.measurement.cpu_allocator import keeping_freed
from harness.measurement.meter import now
from harness.models.loading import Base
from harness.progress import Progress
from harness.records.prediction import Prediction
from harness.records.record import Quality, Retrieval, Score, Slice
from harness.settings import Measure
from harness.stats import Summary, interval
from harness.tasks.metrics import METRICS
from harness.tasks.scoring import Judge, scorer
from harness.tasks.task import Example, Task

Predictions = list[Prediction]


@dataclass(frozen=True)
class Respondent:
    """A model that answers a task's questions in a context."""

    task: Task
    base: Base
    context: Context
    measure: Measure
    """latency_requests, warmup_requests, fixed_tokens, fixed_requests, merged_items, batch_size."""
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

    def prompt(self, example: Example, material: Material | None = None) -> Prompt:
        """A question as the model reads it; material: what was gathered for it, if that was done already."""
        most = max(self.task.max_new_tokens, self.measure.fixed_tokens or 0)
        return self.encoder.fit(self.context, example, self.longest - most, material)

    @property
    def longest(self) -> int:
        """The most tokens of prompt and answer that the model takes."""
        return getattr(self.model.config, "max_position_embeddings", None) or 10**9


def answer(respondent: Respondent, examples: Sequence[Example], label: str, *, freely: bool = False) -> Predictions:
    """Every example's answer with its scores; one that does not fit the model is unscored, never wrong.

    A choice is scored by likelihood; `freely` also generates an unconstrained answer.
    """
    most = respondent.task.max_new_tokens
    prompts = {example.id: respondent.prompt(example) for example in examples}
    fitting = [example for example in examples if len(prompts[example.id].ids) + most <= respondent.longest]
    prefix = prefix_of(respondent, [prompts[example.id].ids for example in fitting])
    with keeping_freed():
        generated = _generate(respondent, [e for e in fitting if freely or not e.choices], prompts, prefix, label)
        scored = _score(respondent, [e for e in fitting if e.choices], prompts, prefix, f"{label}: scoring")
    predictions = []
    for example in examples:
        blank = _blank(example, prompts[example.id])
        if example.id in scored.by_id:
            judged = _judge_choice(
                respondent, example, blank, scored.by_id[example.id], generated.by_id.get(example.id)
            )
            predictions.append(replace(judged, milliseconds=scored.milliseconds))
        elif example.id in generated.by_id:
            judged = _judge_text(respondent, example, blank, generated.by_id[example.id])
            predictions.append(replace(judged, milliseconds=generated.milliseconds))
        else:
            reason = f"prompt and answer exceed the model's {respondent.longest} tokens"
            predictions.append(replace(blank, unscored=reason))
    return predictions


@dataclass(frozen=True)
class _Results:
    """A model's outputs for some examples, by id, and the milliseconds per example, averaged over all batches."""

    by_id: dict[str, list[Any]]
    milliseconds: float

    @classmethod
    def timed(cls, examples: Sequence[Example], work: Callable[[], list[Any]]) -> _Results:
        began = now()
        results = work()
        seconds = now() - began
        return cls({e.id: one for e, one in zip(examples, results, strict=True)}, 1000 * seconds / max(1, len(results)))


def _generate(
    respondent: Respondent,
    examples: Sequence[Example],
    prompts: dict[str, Prompt],
    prefix: SharedPrefix | None,
    label: str,
) -> _Results:
    token_ids = [prompts[example.id].ids for example in examples]
    most, size = respondent.task.max_new_tokens, respondent.measure.batch_size
    model, encoder, progress = respondent.model, respondent.encoder, respondent.progress.labelled(label)
    return _Results.timed(examples, lambda: generate.generate(model, encoder, token_ids, most, size, prefix, progress))


def _score(
    respondent: Respondent,
    examples: Sequence[Example],
    prompts: dict[str, Prompt],
    prefix: SharedPrefix | None,
    label: str,
) -> _Results:
    choices = [[respondent.encoder.completion(choice) for choice in example.choices] for example in examples]
    questions = [Question(prompts[e.id].ids, encoded) for e, encoded in zip(examples, choices, strict=True)]
    return _Results.timed(
        examples,
        lambda: score_choices(respondent.model, questions, prefix, respondent.progress.labelled(label)),
    )


def prefix_of(respondent: Respondent, prompts: Sequence[Sequence[int]]) -> SharedPrefix | None:
    """The common prompt prefix, prefilled once; None if it is switched off, empty or not supported by the model."""
    return SharedPrefix.of(respondent.model, prompts) if respondent.measure.prefix_cache else None


def _blank(example: Example, prompt: Prompt) -> Prediction:
    """A prediction with the fields of its question; the answer's are filled in later."""
    return Prediction(
        id=example.id,
        prompt=prompt.text,
        evidence=tuple(passage.id for passage in prompt.passages),
        prompt_tokens=len(prompt.ids),
        demonstrations_left_out=prompt.left_out,
        slice=example.slice,
        cluster=example.cluster,
    )


def _judge_text(respondent: Respondent, example: Example, blank: Prediction, ids: list[int]) -> Prediction:
    task, text = respondent.task, respondent.encoder.decode(ids)
    metrics = respondent.judge(text, example)
    return replace(blank, completion=text, score=metrics[task.metric], metrics=metrics, completion_tokens=len(ids))


def _judge_choice(
    respondent: Respondent, example: Example, blank: Prediction, scores: list[float], generated: list[int] | None
) -> Prediction:
    """The most likely choice, the most likely per byte, and the unconstrained answer if one was generated."""
    by_byte = [score / len(choice.encode()) for score, choice in zip(scores, example.choices, strict=True)]
    free_text = None if generated is None else respondent.encoder.decode(generated)
    chosen, per_byte = (example.choices[values.index(max(values))] for values in (scores, by_byte))
    accuracy = METRICS["accuracy"]
    metrics = {
        "accuracy": accuracy(chosen, example.answers),
        "accuracy_per_byte": accuracy(per_byte, example.answers),
        **({} if free_text is None else {"accuracy_generated": accuracy(free_text, example.answers)}),
    }
    return replace(
        blank,
        completion=chosen,
        generated=free_text,
        score=metrics[respondent.task.metric],
        metrics=metrics,
        log_likelihoods={choice: round(score, 4) for choice, score in zip(example.choices, scores, strict=True)},
        completion_tokens=len(respondent.encoder.completion(chosen)),
    )


def score(task: Task, predictions: Predictions) -> Score:
    """The primary metric with its interval.

    Items that share a cluster (a template, a document) are no independent ones, and the interval knows it.
    """
    scored = _scored(predictions)
    mean = interval([score for _, score in scored], [prediction.cluster for prediction, _ in scored])
    if mean is None:
        return Score(task.metric, n=0)
    return Score(task.metric, mean.value, mean.low, mean.high, len(scored))


def _scored(predictions: Predictions) -> list[tuple[Prediction, float]]:
    return [(prediction, prediction.score) for prediction in predictions if prediction.score is not None]


def quality(task: Task, predictions: Predictions) -> Quality:
    """The primary metric with its interval and by slice, and the other metrics."""
    scored, primary = _scored(predictions), score(task, predictions)
    metrics: dict[str, list[float]] = {}
    for prediction, _ in scored:
        for name, value in prediction.metrics.items():
            if value is not None:
                metrics.setdefault(name, []).append(value)
    slices: dict[str, list[float]] = {}
    for prediction, value in scored:
        if prediction.slice is not None:
            slices.setdefault(prediction.slice, []).append(value)
    return Quality(
        **vars(primary),
        unscored=len(predictions) - len(scored),
        metrics={name: _mean(values) for name, values in metrics.items()},
        slices={name: Slice(_mean(slices[name]), len(slices[name])) for name in sorted(slices)},
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def retrieval(
    context: Context, examples: Sequence[Example], predictions: Predictions, latency_ms: Summary | None
) -> Retrieval | None:
    """Retrieval quality (recall, rank and nDCG of the gold passages among k) and what retrieval took."""
    if context.index is None:
        return None
    ranking = mean_ranking_quality({prediction.id: prediction.evidence for prediction in predictions}, examples)
    return Retrieval(
        k=context.k,
        recall=ranking.get("recall"),
        mrr=ranking.get("mrr"),
        ndcg=ranking.get("ndcg"),
        passages=len(context.index.passages),
        index_seconds=context.index.seconds,
        index_cached=context.index.cached,
        latency_ms=latency_ms,
    )
