"""The model that a method evaluates: the base, trained weights, or weights that an earlier run trained.

The key of trained weights covers all they depend on, but not the evaluation context: LoRA evaluated in three contexts
trains once, and each of the three records states the cost of that training.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import transformers

from harness import files
from harness.adaptation import peft_model
from harness.adaptation.batches import Rows
from harness.adaptation.train import train
from harness.contexts.chat_format import Encoder
from harness.contexts.context import Context
from harness.errors import UserError
from harness.inference.evaluate import Predictions, Respondent, answer, score
from harness.measurement.meter import Meter, highest, now
from harness.measurement.out_of_memory import is_out_of_memory
from harness.models import loading
from harness.models.loading import Base
from harness.models.model_settings import ModelSettings
from harness.progress import Progress
from harness.records import results_folder
from harness.records.record import Training
from harness.settings import Settings, TrainingSettings, environment_identity
from harness.tasks.task import Example, Task

DOCUMENT_FORMS = {None: (), "text": ("text",), "questions": ("questions",), "both": ("text", "questions")}
"""The forms of documents that `training.documents` adds to the labelled rows."""


@dataclass(frozen=True)
class Adapted:
    """A model that is ready for evaluation."""

    base: Base
    training: Training | None = None
    """The cost of training; None if nothing is trained."""
    validated: Predictions = field(default_factory=list)
    """The model's validation predictions in the training context, if several learning rates were tried."""


def adapt(
    settings: Settings,
    task: Task,
    context: Context,
    pool: Sequence[Example],
    validation: Sequence[Example],
    meter: Meter,
    progress: Progress,
) -> Adapted:
    """The model of a run, trained if the method trains and no earlier run trained the same weights.

    context: the one in training. pool: the labelled rows. validation: the rows that choose epoch and learning rate.
    """
    if settings.training is None:
        with meter.phase("load"), meter.spending("load"):
            return Adapted(peft_model.attach(settings.adaptation, settings.model))
    if not pool:
        raise UserError(f"{task.name} has no training rows; method={settings.method} trains.")
    with meter.spending("data"):
        rows, validation_rows = _rows(settings.training, settings.model, task, context, pool, validation)
    key = _key(settings, rows, validation_rows)
    folder = results_folder.weights_folder(Path(settings.results), key)
    facts = folder / "training.json"
    with files.lock(Path(settings.results), key):
        if facts.exists():
            with meter.phase("load"), meter.spending("load"):
                base = peft_model.restore(settings.adaptation, settings.model, folder)
            return Adapted(base, replace(msgspec.json.decode(facts.read_bytes(), type=Training), shared=True))
        base, best, training = _tune(
            settings, settings.training, task, context, rows, validation_rows, validation, meter, progress
        )
        with meter.spending("save"):
            return Adapted(base, _save(settings, base, training, folder), best.answers)


def _rows(
    options: TrainingSettings,
    model: ModelSettings,
    task: Task,
    context: Context,
    pool: Sequence[Example],
    validation: Sequence[Example],
) -> tuple[Rows, Rows]:
    """Tokenised rows for training and for validation."""
    encoder, longest = Encoder(loading.load_tokenizer(model)), options.max_length
    count = options.validation_rows
    if count is not None and count < len(validation):
        validation = task.take("validation", count)
    rows, validation_rows = (Rows.encode(context, encoder, part, longest) for part in (pool, validation))
    for form in DOCUMENT_FORMS[options.documents]:
        rows += Rows.of_documents(task.training_corpus, encoder, form, longest)
    return rows, validation_rows


@dataclass(frozen=True)
class Trial:
    """One training at one learning rate; its model is not kept here, since only one at a time is in memory."""

    training: Training
    meter: Meter
    """Measured this trial alone."""
    score: float | None = None
    """The validation score, if several rates are tried."""
    answers: Predictions = field(default_factory=list)

    @property
    def merit(self) -> tuple[float, float]:
        """The key that ranks trials, highest best: the validation score, then the negative loss."""
        loss = self.training.best_validation_loss
        loss = self.training.final_train_loss if loss is None else loss
        return self.score or 0.0, -(loss or 0.0)


def _tune(
    settings: Settings,
    options: TrainingSettings,
    task: Task,
    context: Context,
    rows: Rows,
    validation_rows: Rows,
    validation: Sequence[Example],
    meter: Meter,
    progress: Progress,
) -> tuple[Base, Trial, Training]:
    """Train at each learning rate; the model and trial of the best validation score, and the cost of it all."""
    rates, began = options.learning_rates, now()
    trials: dict[float, Trial] = {}
    best = rates[0]
    with tempfile.TemporaryDirectory(prefix="harness-best-") as folder:
        for rate in rates:
            label = "training" if len(rates) == 1 else f"training at {rate:g}"
            show = progress.labelled(label)
            base, trial = _train_once(settings, options, rows, validation_rows, rate, meter.another(), show)
            meter.peaks |= {phase: highest(meter.peaks.get(phase), peak) for phase, peak in trial.meter.peaks.items()}
            meter.settle()
            if len(rates) > 1:
                respondent = Respondent(task, base, context, settings.measure, progress)
                with base.answering():
                    answers = answer(respondent, validation, f"validating {rate:g}")
                del respondent
                trial = replace(trial, answers=answers, score=score(task, answers).value)
            trials[rate] = trial
            best = max(trials, key=lambda tried: trials[tried].merit)
            if rate != rates[-1]:
                if best == rate:
                    peft_model.save(base, Path(folder))
                del base
                meter.settle()
        if best != rates[-1]:
            del base
            meter.settle()
            base = peft_model.restore(settings.adaptation, settings.model, Path(folder))
    training = trials[best].training
    spent = {
        "load": trials[best].meter.spent["load"],
        "training": training.seconds or 0.0,
        "validation": training.validation_seconds or 0.0,
        "save": training.save_seconds or 0.0,
    }
    if len(rates) > 1:
        spent["tuning"] = now() - began - sum(spent.values())
    for part, seconds in spent.items():
        meter.spent[part] += seconds
    return (
        base,
        trials[best],
        replace(
            training,
            tried={f"{rate:g}": trial.score or 0.0 for rate, trial in trials.items()} if len(rates) > 1 else None,
            tuning_seconds=spent.get("tuning", 0.0),
            peak_memory_bytes=meter.headline("train"),
            contaminated=trials[best].meter.contaminated().get("training", []),
        ),
    )


def _train_once(
    settings: Settings,
    options: TrainingSettings,
    rows: Rows,
    validation_rows: Rows,
    rate: float,
    meter: Meter,
    progress: Callable[[int, int], None],
) -> tuple[Base, Trial]:
    """Train from the base; if the GPU runs out of memory and checkpointing is not set, retry with checkpointing."""
    seed = settings.seeds["train"]
    while True:
        transformers.set_seed(seed)  # an adapter's first weights are random
        with meter.phase("load"), meter.spending("load"):
            base = peft_model.attach(settings.adaptation, settings.model)
        transformers.set_seed(seed)
        try:
            training = train(base, rows, validation_rows, options, rate, seed, meter, progress)
            return base, Trial(training, meter)
        except (RuntimeError, MemoryError) as cause:
            if options.gradient_checkpointing is not None or not is_out_of_memory(cause):
                raise
        print("out of memory: retrying with gradient checkpointing", flush=True)  # the error no longer holds tensors
        options = replace(options, gradient_checkpointing=True)
        del base
        meter = meter.another()
        meter.settle()


def _save(settings: Settings, base: Base, training: Training, folder: Path) -> Training:
    """Save the weights and the cost of training; delete them again unless `keep_weights` covers them."""
    adapter = settings.adaptation.peft is not None
    with files.draft_folder(folder) as draft:
        training = replace(training, weights=folder.name, weights_bytes=peft_model.save(base, draft), shared=False)
        files.write(draft / "training.json", msgspec.json.format(msgspec.json.encode(training), indent=2).decode())
    if not (settings.keep_weights == "all" or (settings.keep_weights == "adapters" and adapter)):
        shutil.rmtree(folder)
    return training


def _key(settings: Settings, rows: Rows, validation_rows: Rows) -> str:
    """Hash of what trained weights depend on: model, adaptation, rendered rows, seed and versions."""
    parts = [
        settings.config["model"],
        settings.config["adaptation"],
        settings.config["training"],
        rows.sha256(),
        validation_rows.sha256(),
        settings.seeds["train"],
        environment_identity(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
