"""One run's settings, from a resolved configuration, and its identity.

A run's identity is what can change its outcome: the parts of the configuration that the method uses, the data, the
versions of the libraries and the kind of device. So `method=zero_shot rank=4` and `rank=16` are one run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import paths
from harness.contexts.context_settings import ContextSettings
from harness.errors import UserError
from harness.measurement.readings import Environment
from harness.models.model_settings import ModelSettings
from harness.records.record import Record, label
from harness.settings.groups import Adaptation, Knobs, Measure, TaskSettings, TrainingSettings
from harness.settings.identity import environment_identity, fingerprint, redact, short_hash, used, without
from harness.tasks.definition import load_task
from harness.tasks.task import Task
from harness.typed import typed

_ADDED = {"free_answers": True, "cached_requests": None}
"""Settings of `measure` that came later, and what was done before: where they say that, the cell is the one it was."""
RUNS = "runs"
"""The folder of runs that belong to no experiment."""


@dataclass(frozen=True)
class Settings:
    """What one run does. `config` is the whole resolved configuration, as the record keeps it."""

    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        typed({field.name: self.config[field.name] for field in fields(Knobs)}, Knobs, "")
        if self.training and self.training.max_steps == 0:
            raise UserError("training.max_steps=0: expected a whole number of at least 1, or -1 for no limit.")
        if self.training and len(self.training.learning_rates) > 1 and self.validation_limit == 0:
            raise UserError("Several learning rates are chosen between on validation: not with no validation rows.")
        _ = self.task, self.model, self.context, self.train_context, self.measure  # wrong values are found now

    @cached_property
    def task(self) -> TaskSettings:
        return typed(self.config["task"], TaskSettings, "task.")

    @cached_property
    def model(self) -> ModelSettings:
        return typed(self.config["model"], ModelSettings, "model.")

    @cached_property
    def context(self) -> ContextSettings:
        """What goes into the prompt."""
        return typed(self.config["context"], ContextSettings, "context.")

    @cached_property
    def train_context(self) -> ContextSettings:
        """What goes into the prompt while training."""
        return typed(self.config["train_context"], ContextSettings, "train_context.")

    @cached_property
    def training(self) -> TrainingSettings | None:
        """None if nothing is trained."""
        values = self.config["training"]
        return typed(values, TrainingSettings, "training.") if values.get("name") else None

    @cached_property
    def measure(self) -> Measure:
        return typed(self.config["measure"], Measure, "measure.")

    @property
    def adaptation(self) -> Adaptation:
        parts = self.config["adaptation"]
        return Adaptation(parts["quantization"], parts["peft"], parts["initialise"], self.training)

    @property
    def method(self) -> str:
        return str(self.config["method"])

    @property
    def label(self) -> str:
        """The method as a reader names it, as in `Record.label`."""
        return label(self.method, self.adaptation.rank)

    @property
    def experiment(self) -> str | None:
        return self.config["experiment"]

    @property
    def results(self) -> Path:
        return Path(self.config["results"])

    @property
    def reuse(self) -> str:
        """same | any: whether a finished run that was made with other versions will do."""
        return str(self.config["reuse"])

    @property
    def keep_weights(self) -> str:
        """adapters | all | none."""
        return str(self.config["keep_weights"])

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def seeds(self) -> Mapping[str, int]:
        """Seeds by purpose: train, demonstrations, data."""
        return self.config["seeds"]

    @property
    def max_train_examples(self) -> int | None:
        return self.config["max_train_examples"]

    @property
    def max_eval_examples(self) -> int | None:
        return self.config["max_eval_examples"]

    @property
    def trains(self) -> bool:
        return self.training is not None

    @property
    def trains_on_documents(self) -> bool:
        """Whether the task's documents are among the training rows."""
        return self.training is not None and bool(self.training.documents)

    @property
    def probes_retention(self) -> bool:
        """Whether to measure what training made the model forget."""
        return self.trains and bool(self.measure.retention_items)

    @property
    def measures_latency(self) -> bool:
        """Whether single requests are made, for latency and the memory of inference."""
        return bool(self.measure.latency_requests)

    @property
    def validation_limit(self) -> int | None:
        """The most validation rows; None: all."""
        most = self.config["max_validation_examples"]
        return self.max_eval_examples if most is None else most

    @property
    def uses_demonstrations(self) -> bool:
        contexts = [self.context] + ([self.train_context] if self.trains else [])
        return any(context.name == "few_shot" for context in contexts)

    def load_task(self) -> Task:
        """The task that the settings name, read and checked."""
        path, root = (Path(given) if given else None for given in (self.task.source.path, self.task.source.root))
        return load_task(task_folder(self.task.name, self.task.path), path, root)

    def redacted(self) -> dict[str, object]:
        """The configuration without values whose name sounds secret."""
        return redact(dict(self.config))

    def planned(self, task: Task) -> Record:
        """The record of a run before it starts: only what identifies it."""
        return Record(
            run_id=f"{self.cell(task)}-{short_hash(environment_identity(), 6)}",
            status="interrupted",
            task=task.name,
            probes=task.probes,
            model=self.model.name,
            method=self.method,
            adaptation=self.adaptation.name,
            context=self.context.name,
            train_context=self.train_context.name if self.trains else None,
            rank=self.adaptation.rank,
            seed=self.seed,
            experiment=self.experiment or RUNS,
            environment=Environment(data_sha256=task.data_sha256),
            predicted=list(task.predicted),
            config=self.redacted(),
        )

    def cell(self, task: Task) -> str:
        """Hash of configuration and data; the same under other versions."""
        config = self.config
        parts: dict[str, object] = {
            "data": task.data_sha256,
            "model": [without(config["model"], "about"), fingerprint(config["model"]["path"])],
            "context": used(config["context"]),
            "quantization": config["adaptation"]["quantization"],
            "items": [config["max_eval_examples"], config["max_validation_examples"]],
            "measure": {n: v for n, v in config["measure"].items() if n not in _ADDED or v != _ADDED[n]},
        }
        if self.trains:
            parts["training"] = [
                config["adaptation"], config["training"], used(config["train_context"]), config["seeds"]["train"],
            ]  # fmt: skip
        if self.trains or self.uses_demonstrations:
            parts["rows"] = [config["max_train_examples"], config["seeds"]["data"]]
        if self.uses_demonstrations:
            parts["demonstrations"] = config["seeds"]["demonstrations"]
        return short_hash(parts, 10)


def task_folder(name: str, path: str | None) -> Path:
    """A task's folder: the one given, else `./tasks/NAME`, else the shipped one."""
    if path:
        folder = Path(path)
        if not folder.is_dir():
            raise UserError(f"task.path={path}: no such folder.")
        return folder
    if name == "folder":
        raise UserError("task=folder needs task.path=DIR.")
    local = Path("tasks") / name
    return local if (local / "task.yaml").exists() else paths.TASKS / name
