"""One run, from a configuration to a Record: load the task, load the model, adapt it, answer, score, record.

    record, answers = run(settings, settings.planned(task), Progress())

Everything a run does is here in the order in which it happens; how each step is done is in its own module.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace

import transformers

from harness.adaptation import peft_model
from harness.adaptation.learning_rate_search import adapt
from harness.contexts.context import bind
from harness.estimate.prediction import of_run
from harness.inference.evaluate import Predictions, Respondent, answer, quality, retrieval, score
from harness.inference.forgetting import retention
from harness.inference.latency import latency, merged, prefix_cached
from harness.measurement.cpu_allocator import keep_freed
from harness.measurement.flops import Matrices
from harness.measurement.machine import describe_environment
from harness.measurement.meter import LEAST_REQUESTS, Meter, now
from harness.models import loading
from harness.models.loading import Base
from harness.progress import Progress
from harness.records.record import Inference, Record, Training
from harness.settings import Measure, Settings


def run(settings: Settings, planned: Record, progress: Progress) -> tuple[Record, dict[str, Predictions]]:
    """Carry out a planned run in this process; returns its record with status ok and all predictions by split."""
    if not settings.measure.exact_memory:
        keep_freed()
    meter = Meter()
    started, began = time.time(), now()
    peft_model.check(settings.adaptation)
    transformers.set_seed(settings.seeds["train"])
    loading.make_ready(settings.model)
    meter.begin()

    with meter.spending("data"):
        task = settings.load_task()
        pool = task.take("train", settings.max_train_examples, settings.seeds["data"])
        validation = task.take("validation", settings.validation_limit)
        test = task.take("test", settings.max_eval_examples)
        context = bind(settings.context, task, pool, settings.seeds["demonstrations"], step=progress.step)
        train_context = context
        if settings.trains and (settings.train_context != settings.context or task.training_corpus != task.corpus):
            before = task.training_corpus
            train_context = bind(
                settings.train_context, task, pool, settings.seeds["demonstrations"], before, progress.step
            )

    adapted = adapt(settings, task, train_context, pool, validation, meter, progress)
    base, training = adapted.base, adapted.training
    if training and settings.measure.estimate:
        training = replace(training, estimated=of_run(settings, training))
    respondent = Respondent(task, base, context, settings.measure, progress)

    with base.answering():
        meter.settle()
        with meter.phase("evaluate"), meter.spending("inference"):
            predictions = answer(respondent, test, "answering test", freely=settings.measure.free_answers)
        seconds = meter.spent["inference"]
        meter.settle()
        with meter.phase("infer") if settings.measures_latency else nullcontext(), meter.spending("latency"):
            timed = latency(respondent, test)
        with meter.spending("latency"):
            cached = prefix_cached(respondent, test)
        with meter.spending("validation"):
            answered = adapted.validated if train_context is context else []  # while a learning rate was chosen
            checked = answered or answer(respondent, validation, "answering validation")
        with meter.spending("retention"):
            forgotten = retention(settings, base, progress) if settings.probes_retention else None
        flops = Matrices.of(base.model)
        with meter.spending("latency"):
            folded = merged(respondent, test, predictions) if _merges(settings, base) else None
        prompt_tokens = _mean([prediction.prompt_tokens for prediction in predictions])
        completion_tokens = _mean([prediction.completion_tokens for prediction in predictions])

    record = replace(
        planned,
        status="ok",
        quality=quality(task, predictions),
        validation=score(task, checked) if checked else None,
        training=training,
        inference=Inference(
            latency_ms=timed.requests.latency_ms,
            first_token_ms=timed.requests.first_token_ms,
            per_token_ms=timed.requests.per_token_ms,
            fixed=timed.fixed,
            prefix_cached=cached,
            merged=folded,
            items_per_second=len(test) / seconds,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            flops_per_item=flops.forward(prompt_tokens + completion_tokens, prompt_tokens + completion_tokens)
            if prompt_tokens and completion_tokens
            else None,
            trimmed_items=sum(prediction.demonstrations_left_out > 0 for prediction in predictions),
            peak_memory_bytes=meter.headline("infer"),
        ),
        retrieval=retrieval(context, test, predictions, timed.retrieval_ms),
        retention=forgotten,
        memory=meter.memory(),
        seconds=meter.seconds(now() - began),
        contaminated=contaminated(meter, settings.measure, training),
        environment=describe_environment(task.data_sha256, started),
    )
    return record, {"test": predictions, "validation": checked}


def _merges(settings: Settings, base: Base) -> bool:
    """Whether to answer once more with the adapter folded into the weights."""
    return bool(settings.measure.merged_items) and peft_model.mergeable(settings.adaptation, base.model)


def _mean(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def contaminated(meter: Meter, measure: Measure, training: Training | None = None) -> dict[str, list[str]]:
    """What contaminated each figure, or makes it too small; training's is copied with its figures if shared."""
    reasons, requests = meter.contaminated(), measure.latency_requests
    if meter.kind == "rss" and not measure.exact_memory:
        reasons["memory"] = [*reasons.get("memory", ()), "freed memory was kept, so the peak is too high"]
    if training and training.contaminated:
        reasons["training"] = training.contaminated
    if not requests:
        reasons["memory"] = [
            *reasons.get("memory", ()),
            "no single request was made, so answering one is not in the peak",
        ]
    elif requests < LEAST_REQUESTS:
        reasons["latency"] = [*reasons.get("latency", ()), f"{requests} requests, fewer than {LEAST_REQUESTS}"]
    return reasons
