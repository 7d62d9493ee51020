"""One run, from a configuration to a Record: load the task, load the model, adapt it, answer, score, record.

    record, predictions = run(settings, settings.planned(task), Progress())

Everything a run does stands here in the order in which it happens; how each step is done stands in its own module.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import transformers

from harness import models
from harness.contexts import bind
from harness.environment import describe_environment
from harness.evaluation import Predictions, Respondent, answer, latency, merged, quality, retrieval
from harness.measure import Meter, now
from harness.progress import Progress
from harness.records import Record
from harness.retention import retention
from harness.settings import Settings
from harness.weights import adapt


def run(settings: Settings, planned: Record, progress: Progress) -> tuple[Record, Predictions]:
    """Carry a planned run out in this process: its record with status ok and every item's answer, or an exception."""
    started = time.time()
    settings.adaptation.check()
    transformers.set_seed(settings.seeds["train"])
    task = settings.load_task()
    models.make_ready(settings.model)
    meter = Meter()

    pool = task.take("train", settings.max_train_examples, settings.seeds["data"])
    validation = task.take("validation", settings.max_validation_examples or settings.max_eval_examples)
    test = task.take("test", settings.max_eval_examples)

    context = bind(settings.context, task, pool, settings.seeds["demonstrations"], step=progress.step)
    shown = context
    if settings.trains and (settings.train_context != settings.context or task.training_corpus != task.corpus):
        before = task.training_corpus
        shown = bind(settings.train_context, task, pool, settings.seeds["demonstrations"], before, progress.step)

    base, training = adapt(settings, task, shown, pool, validation, meter, progress)
    respondent = Respondent(task, base, context, settings.measure, progress)

    meter.settle()
    with meter.phase("infer"):
        began = now()
        predictions = answer(respondent, test, "answering test", freely=True)
        seconds = now() - began
        timed = latency(respondent, test)
    checked = answer(respondent, validation, "answering validation")
    forgotten = retention(settings, base, progress) if settings.probes_retention else None
    foldable = settings.adaptation.mergeable(base.model)

    record = replace(
        planned,
        status="ok",
        quality=quality(task, predictions),
        validation=quality(task, checked, brief=True) if checked else None,
        training=training,
        inference={
            "latency_ms": timed["latency_ms"],
            "first_token_ms": timed["first_token_ms"],
            "merged": merged(respondent, test, predictions) if foldable else None,
            "items_per_second": len(test) / seconds,
            "prompt_tokens": _mean(predictions, "prompt_tokens"),
            "completion_tokens": _mean(predictions, "completion_tokens"),
            "trimmed_items": sum(prediction["demonstrations_left_out"] > 0 for prediction in predictions),
            "peak_memory_bytes": meter.peaks["infer"]["allocated"],
        },
        retrieval=retrieval(context, test, timed),
        retention=forgotten,
        memory=meter.as_record(),
        environment=describe_environment(task.data_sha256, started),
    )
    return record, predictions


def _mean(predictions: Predictions, field: str) -> float | None:
    known: list[Any] = [prediction[field] for prediction in predictions if prediction[field] is not None]
    return sum(known) / len(known) if known else None
