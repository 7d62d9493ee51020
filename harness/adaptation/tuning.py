"""The weights that a method asks for: the base's own, trained now, or trained before for another context.

Trained weights are keyed by all they depend on, which the evaluation context is not: LoRA asked in three contexts
trains once, and each record says what the training took.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from harness import files
from harness.adaptation import peft_model
from harness.adaptation.batches import Rows
from harness.adaptation.train import train
from harness.contexts.chat_format import Encoder
from harness.contexts.context import Context
from harness.errors import UserError
from harness.inference.evaluate import Predictions, Respondent, answer, quality
from harness.measurement.meter import Meter, now
from harness.models import loading
from harness.models.loading import Base
from harness.progress import Progress
from harness.records import results_folder
from harness.settings import Settings, environment_identity
from harness.tasks.definition import Example, Task

DOCUMENT_FORMS = {None: (), "text": ("text",), "questions": ("questions",), "both": ("text", "questions")}
"""What `training.documents` adds to the labelled rows."""


def adapt(
    settings: Settings,
    task: Task,
    shown: Context,
    pool: Sequence[Example],
    validation: Sequence[Example],
    meter: Meter,
    progress: Progress,
) -> tuple[Base, dict[str, Any] | None, Predictions]:
    """The adapted model, what training it took (None where nothing is trained), and its answers to validation.

    `shown` is the context while training, `pool` the labelled rows, `validation` those that choose the best epoch.
    Answers are there, in the context of training, where learning rates were tried.
    """
    if not settings.trains:
        with meter.phase("load"), meter.spending("load"):
            return peft_model.attach(settings.adaptation, settings.model), None, []
    if not pool:
        raise UserError(f"{task.name} has no training rows; method={settings.method} trains.")
    with meter.spending("data"):
        rows, unseen = _rows(settings, task, shown, pool, validation)
    key = _key(settings, rows, unseen)
    folder = results_folder.weights_folder(Path(settings.results), key)
    facts = folder / "training.json"
    with files.lock(Path(settings.results), key):
        if facts.exists():
            with meter.phase("load"), meter.spending("load"):
                base = peft_model.restore(settings.adaptation, settings.model, folder)
            return base, {**json.loads(facts.read_text()), "shared": True}, []
        base, training, answers = _tune(settings, task, shown, rows, unseen, validation, meter, progress)
        training["contaminated"] = meter.contaminated().get("training", [])
        with meter.spending("save"):
            return base, {**_keep(settings, base, training, folder), "shared": False}, answers


def _rows(
    settings: Settings, task: Task, shown: Context, pool: Sequence[Example], validation: Sequence[Example]
) -> tuple[Rows, Rows]:
    """Tokenised rows to train on and to validate on."""
    encoder, longest = Encoder(loading.load_tokenizer(settings.model)), settings.training["max_length"]
    fewer = settings.training["validation_rows"]
    if fewer is not None and fewer < len(validation):
        validation = task.take("validation", fewer)
    rows, unseen = (Rows.encode(shown, encoder, part, longest) for part in (pool, validation))
    for form in _document_forms(settings.training["documents"]):
        rows += Rows.of_documents(task.training_corpus, encoder, form, longest)
    return rows, unseen


def _document_forms(name: str | None) -> tuple[str, ...]:
    if name not in DOCUMENT_FORMS:
        raise UserError(f"training.documents={name}: known are null, {', '.join(n for n in DOCUMENT_FORMS if n)}.")
    return DOCUMENT_FORMS[name]


def _tune(
    settings: Settings,
    task: Task,
    shown: Context,
    rows: Rows,
    unseen: Rows,
    validation: Sequence[Example],
    meter: Meter,
    progress: Progress,
) -> tuple[Base, dict[str, Any], Predictions]:
    """Train at each learning rate and keep the one that answers validation best; the loss decides between equals."""
    rates, began = settings.learning_rates, now()
    best: tuple[Base, dict[str, Any], Predictions] | None = None
    tried: dict[str, float] = {}
    peaks: dict[str, dict[str, int | None]] = {}
    for rate in rates:
        label = "training" if len(rates) == 1 else f"training at {rate:g}"
        base, trial = _trial(settings, rows, unseen, rate, meter, progress.labelled(label))
        peaks = {**meter.peaks, **peaks}  # of the first trial: later ones have the best so far beside them
        meter.settle()
        answers: Predictions = []
        if len(rates) > 1:
            respondent = Respondent(task, base, shown, settings.measure, progress)
            answers = answer(respondent, validation, f"validating {rate:g}")
            tried[f"{rate:g}"] = trial["validation_value"] = quality(task, answers, brief=True)["value"]
        if best is None or _merit(trial) > _merit(best[1]):
            best = base, trial, answers
    assert best is not None
    meter.peaks |= {phase: peaks[phase] for phase in ("load", "train")}
    base, chosen, answers = best
    parts = {"training": "seconds", "validation": "validation_seconds", "save": "save_seconds", "load": "load_seconds"}
    spent = {part: chosen[name] for part, name in parts.items()}
    if tried:
        spent["tuning"] = now() - began - sum(spent.values())
    for part, seconds in spent.items():
        meter.spent[part] += seconds
    training = {
        **{name: value for name, value in chosen.items() if name not in ("validation_value", "load_seconds")},
        "tried": tried or None,
        "tuning_seconds": spent.get("tuning", 0.0),
        "peak_memory_bytes": meter.headline("train"),
    }
    return base, training, answers


def _trial(
    settings: Settings,
    rows: Rows,
    unseen: Rows,
    rate: float,
    meter: Meter,
    progress: Callable[[int, int], None],
) -> tuple[Base, dict[str, Any]]:
    """Train from the base; where a GPU's memory ends, once more with checkpointing unless settings rule it out."""
    how, seed = settings.training, settings.seeds["train"]
    while True:
        with meter.phase("load"):
            began = now()
            base = peft_model.attach(settings.adaptation, settings.model)
            load_seconds = now() - began
        transformers.set_seed(seed)
        try:
            trial = train(base, rows, unseen, how, rate, seed, meter, progress)
            return base, {**trial, "load_seconds": load_seconds}
        except torch.OutOfMemoryError:
            if how["gradient_checkpointing"] is not None:
                raise
        print("out of memory: again with gradient checkpointing", flush=True)
        how = {**how, "gradient_checkpointing": True}
        del base
        meter.peaks.pop("train", None)
        meter.settle()


def _merit(trial: dict[str, Any]) -> tuple[float, float]:
    loss = trial["best_validation_loss"]
    return trial.get("validation_value") or 0.0, -(trial["final_train_loss"] if loss is None else loss)


def _keep(settings: Settings, base: Base, training: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Save the weights with what they took; a whole model is large and stays only when asked for."""
    adapter = settings.adaptation.peft is not None
    with files.draft_folder(folder) as draft:
        training = {**training, "weights": folder.name, "weights_bytes": peft_model.save(base, draft)}
        files.write(draft / "training.json", json.dumps(training, indent=2))
    if not (settings.keep_weights == "all" or (settings.keep_weights == "adapters" and adapter)):
        shutil.rmtree(folder)
    return training


def _key(settings: Settings, rows: Rows, unseen: Rows) -> str:
    """What trained weights depend on: the model, the adaptation, the rendered rows, the seed, the versions."""
    parts = [
        settings.model,
        settings.config["adaptation"],
        settings.training,
        rows.sha256(),
        unseen.sha256(),
        settings.seeds["train"],
        environment_identity(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
