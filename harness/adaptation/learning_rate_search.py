"""Get the weights that a method needs: the base's own, newly trained, or trained earlier for another context.

Trained weights are keyed by all they depend on, which the evaluation context is not: LoRA asked in three contexts
trains once, and each record says what the training took.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import torch
import transformers

from harness import files
from harness.adaptation import peft_model
from harness.adaptation.batches import Rows
from harness.adaptation.train import train
from harness.contexts.chat_format import Encoder
from harness.contexts.context import Context
from harness.errors import UserError
from harness.inference.evaluate import Predictions, Respondent, answer, score
from harness.measurement.meter import Meter, now
from harness.models import loading
from harness.models.loading import Base
from harness.models.model_settings import ModelSettings
from harness.progress import Progress
from harness.records import results_folder
from harness.records.record import Training
from harness.settings import Settings, TrainingSettings, environment_identity
from harness.tasks.task import Example, Task

DOCUMENT_FORMS = {None: (), "text": ("text",), "questions": ("questions",), "both": ("text", "questions")}
"""What `training.documents` adds to the labelled rows."""


@dataclass(frozen=True)
class Adapted:
    """A model that is ready to answer."""

    base: Base
    training: Training | None = None
    """What training took; None if nothing is trained."""
    validated: Predictions = field(default_factory=list)
    """Its answers to validation in the context of training, if learning rates were tried."""


def adapt(
    settings: Settings,
    task: Task,
    shown: Context,
    pool: Sequence[Example],
    validation: Sequence[Example],
    meter: Meter,
    progress: Progress,
) -> Adapted:
    """The model with the weights that a method needs.

    `shown` is the context while training, `pool` the labelled rows, `validation` those that choose the best epoch.
    """
    if settings.training is None:
        with meter.phase("load"), meter.spending("load"):
            return Adapted(peft_model.attach(settings.adaptation, settings.model))
    if not pool:
        raise UserError(f"{task.name} has no training rows; method={settings.method} trains.")
    with meter.spending("data"):
        rows, unseen = _rows(settings.training, settings.model, task, shown, pool, validation)
    key = _key(settings, rows, unseen)
    folder = results_folder.weights_folder(Path(settings.results), key)
    facts = folder / "training.json"
    with files.lock(Path(settings.results), key):
        if facts.exists():
            with meter.phase("load"), meter.spending("load"):
                base = peft_model.restore(settings.adaptation, settings.model, folder)
            return Adapted(base, replace(msgspec.json.decode(facts.read_bytes(), type=Training), shared=True))
        best, training = _tune(settings, settings.training, task, shown, rows, unseen, validation, meter, progress)
        with meter.spending("save"):
            return Adapted(best.base, _keep(settings, best.base, training, folder), best.answers)


def _rows(
    how: TrainingSettings,
    model: ModelSettings,
    task: Task,
    shown: Context,
    pool: Sequence[Example],
    validation: Sequence[Example],
) -> tuple[Rows, Rows]:
    """Tokenised rows to train on and to validate on."""
    encoder, longest = Encoder(loading.load_tokenizer(model)), how.max_length
    fewer = how.validation_rows
    if fewer is not None and fewer < len(validation):
        validation = task.take("validation", fewer)
    rows, unseen = (Rows.encode(shown, encoder, part, longest) for part in (pool, validation))
    for form in _document_forms(how.documents):
        rows += Rows.of_documents(task.training_corpus, encoder, form, longest)
    return rows, unseen


def _document_forms(name: str | None) -> tuple[str, ...]:
    if name not in DOCUMENT_FORMS:
        raise UserError(f"training.documents={name}: known are null, {', '.join(n for n in DOCUMENT_FORMS if n)}.")
    return DOCUMENT_FORMS[name]


@dataclass(frozen=True)
class Trial:
    """One training at one learning rate."""

    base: Base
    training: Training
    meter: Meter
    """Of this trial alone."""
    score: float | None = None
    """On validation, if several rates are tried."""
    answers: Predictions = field(default_factory=list)

    @property
    def merit(self) -> tuple[float, float]:
        """By which trials are ranked: the validation score, and if that is equal the lower loss."""
        loss = self.training.best_validation_loss
        loss = self.training.final_train_loss if loss is None else loss
        return self.score or 0.0, -(loss or 0.0)


def _tune(
    settings: Settings,
    how: TrainingSettings,
    task: Task,
    shown: Context,
    rows: Rows,
    unseen: Rows,
    validation: Sequence[Example],
    meter: Meter,
    progress: Progress,
) -> tuple[Trial, Training]:
    """Train at each learning rate; return the trial with the best validation score, and what the search took."""
    rates, began = how.learning_rates, now()
    best: Trial | None = None
    tried: dict[str, float] = {}
    for rate in rates:
        label = "training" if len(rates) == 1 else f"training at {rate:g}"
        trial = _train_once(settings, how, rows, unseen, rate, meter.another(), progress.labelled(label))
        if not tried:  # later trials have the best so far beside them, which is not what training takes
            meter.peaks |= trial.meter.peaks
        meter.settle()
        if len(rates) > 1:
            answers = answer(
                Respondent(task, trial.base, shown, settings.measure, progress), validation, f"validating {rate:g}"
            )
            trial = replace(trial, answers=answers, score=score(task, answers).value)
            tried[f"{rate:g}"] = trial.score or 0.0
        if best is None or trial.merit > best.merit:
            best = trial
        del trial
    assert best is not None
    training = best.training
    spent = {
        "load": best.meter.spent["load"],
        "training": training.seconds or 0.0,
        "validation": training.validation_seconds or 0.0,
        "save": training.save_seconds or 0.0,
    }
    if tried:
        spent["tuning"] = now() - began - sum(spent.values())
    for part, seconds in spent.items():
        meter.spent[part] += seconds
    return best, replace(
        training,
        tried=tried or None,
        tuning_seconds=spent.get("tuning", 0.0),
        peak_memory_bytes=meter.headline("train"),
        contaminated=best.meter.contaminated().get("training", []),
    )


def _train_once(
    settings: Settings,
    how: TrainingSettings,
    rows: Rows,
    unseen: Rows,
    rate: float,
    meter: Meter,
    progress: Callable[[int, int], None],
) -> Trial:
    """Train from the base; if a GPU runs out of memory, once more with checkpointing unless the settings forbid it."""
    seed = settings.seeds["train"]
    while True:
        with meter.phase("load"), meter.spending("load"):
            base = peft_model.attach(settings.adaptation, settings.model)
        transformers.set_seed(seed)
        try:
            return Trial(base, train(base, rows, unseen, how, rate, seed, meter, progress), meter)
        except torch.OutOfMemoryError:
            if how.gradient_checkpointing is not None:
                raise
        print("out of memory: again with gradient checkpointing", flush=True)
        how = replace(how, gradient_checkpointing=True)
        del base
        meter = meter.another()
        meter.settle()


def _keep(settings: Settings, base: Base, training: Training, folder: Path) -> Training:
    """Save the weights and what training took; a fully trained model is kept only on request, because it is large."""
    adapter = settings.adaptation.peft is not None
    with files.draft_folder(folder) as draft:
        training = replace(training, weights=folder.name, weights_bytes=peft_model.save(base, draft), shared=False)
        files.write(draft / "training.json", msgspec.json.format(msgspec.json.encode(training), indent=2).decode())
    if not (settings.keep_weights == "all" or (settings.keep_weights == "adapters" and adapter)):
        shutil.rmtree(folder)
    return training


def _key(settings: Settings, rows: Rows, unseen: Rows) -> str:
    """A hash of all that trained weights depend on: model, adaptation, rendered rows, seed, versions."""
    parts = [
        settings.config["model"],
        settings.config["adaptation"],
        settings.config["training"],
        rows.sha256(),
        unseen.sha256(),
        settings.seeds["train"],
        environment_identity(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
