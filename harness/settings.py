"""One run's settings, from a resolved configuration, and its identity.

A run's identity is what can change its outcome: the parts of the configuration that the method uses, the data, the
versions of the libraries and the kind of device. So `method=zero_shot rank=4` and `rank=16` are one run.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness import RESULTS_VERSION, paths
from harness.contexts.context import KNOBS
from harness.errors import UserError
from harness.measurement import matmul
from harness.measurement.machine import device_kind
from harness.measurement.readings import Environment
from harness.records.record import Record
from harness.tasks.definition import Task, load_task

OUTCOME_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")
_SECRETS = ("token", "password", "secret", "api_key")
REDACTED = "***"
_LIMITS = {"rank": 1, "max_train_examples": 1, "max_eval_examples": 1, "max_validation_examples": 0}
_COUNTS = (
    "latency_requests",
    "warmup_requests",
    "fixed_requests",
    "cached_requests",
    "merged_items",
    "retention_items",
)
"""Of what is measured beside quality; 0 leaves it out."""
_ADDED = {"free_answers": True, "cached_requests": None}
"""Settings of `measure` that came later, and what was done before: where they say that, the cell is the one it was."""
RUNS = "runs"
"""The folder of runs that belong to no experiment."""


@dataclass(frozen=True)
class Adaptation:
    """What is done to a base model; each part may be absent: a quantised base, an adapter, training.

                quantization   peft   training
    none             -           -        -
    full             -           -       yes
    lora, prefix     -          yes      yes
    qlora           nf4         yes      yes
    """

    quantization: Mapping[str, Any] | None
    # options of transformers' BitsAndBytesConfig
    peft: Mapping[str, Any] | None
    # a `_target_` of a PEFT config
    initialise: Mapping[str, Any] | None
    # a `_target_` called with (model, tokenizer) once the adapter is attached
    training: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """none | full | lora | qlora | prefix | ..., from the three parts."""
        if self.peft is None:
            bare = "full" if self.training else "none"
            return f"{bare}_4bit" if self.quantization else bare
        kind = str(self.peft["_target_"]).rsplit(".", 1)[-1].removesuffix("Config").lower()
        kind = kind.removesuffix("tuning")
        if self.quantization:
            return "qlora" if kind == "lora" else f"{kind}_4bit"
        return kind

    @property
    def rank(self) -> int | None:
        """The adapter's rank, where it has one."""
        rank = (self.peft or {}).get("r")
        return int(rank) if rank is not None else None


@dataclass(frozen=True)
class Settings:
    """What one run does. `config` is the whole resolved configuration, as the record keeps it."""

    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        nested = {f"measure.{knob}": self.config["measure"].get(knob) for knob in _COUNTS}
        nested["training.validation_rows"] = self.config["training"].get("validation_rows")
        for knob, least in {**_LIMITS, **dict.fromkeys(nested, 0)}.items():
            value = nested[knob] if knob in nested else self.config[knob]
            if value is not None and (not isinstance(value, int) or value < least):
                raise UserError(f"{knob}={value}: expected a whole number of at least {least}.")
        if len(self.learning_rates) > 1 and self.validation_limit == 0:
            raise UserError("Several learning rates are chosen between on validation: not with no validation rows.")

    def __getattr__(self, name: str) -> Any:
        try:
            return self.config[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def adaptation(self) -> Adaptation:
        parts = self.config["adaptation"]
        training = self.config["training"]
        return Adaptation(
            quantization=parts["quantization"],
            peft=parts["peft"],
            initialise=parts["initialise"],
            training=training if training.get("name") else None,
        )

    @property
    def trains(self) -> bool:
        return self.adaptation.training is not None

    @property
    def trains_on_documents(self) -> bool:
        """Whether the task's documents are among the training rows."""
        return self.trains and bool(self.config["training"]["documents"])

    @property
    def probes_retention(self) -> bool:
        """Whether to measure what training made the model forget."""
        return self.trains and bool(self.config["measure"]["retention_items"])

    @property
    def measures_latency(self) -> bool:
        """Whether single requests are made, which the latency and the memory of inference are of."""
        return bool(self.config["measure"]["latency_requests"])

    @property
    def validation_limit(self) -> int | None:
        """The most validation rows; None: all."""
        most = self.config["max_validation_examples"]
        return self.config["max_eval_examples"] if most is None else most

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The rates to try on validation; one is used as it is."""
        rates = self.config["training"].get("learning_rate", [])
        return tuple(float(r) for r in (rates if isinstance(rates, list) else [rates]))

    @property
    def uses_demonstrations(self) -> bool:
        contexts = [self.config["context"]] + ([self.config["train_context"]] if self.trains else [])
        return any(context["name"] == "few_shot" for context in contexts)

    def load_task(self) -> Task:
        """The task that the settings name, read and checked."""
        task = self.config["task"]
        path, root = (Path(given) if given else None for given in (task["source"]["path"], task["source"]["root"]))
        return load_task(task_folder(task["name"], task["path"]), path, root)

    def redacted(self) -> dict[str, Any]:
        """The configuration without values whose name sounds secret."""
        return _redact(dict(self.config))

    def planned(self, task: Task) -> Record:
        """The record of a run that has not begun: which run it is; the rest says what becomes of it."""
        return Record(
            run_id=f"{self.cell(task)}-{_hash(environment_identity(), 6)}",
            status="interrupted",
            task=task.name,
            probes=task.probes,
            model=self.model["name"],
            method=self.method,
            adaptation=self.adaptation.name,
            context=self.context["name"],
            train_context=self.train_context["name"] if self.trains else None,
            rank=self.adaptation.rank,
            seed=self.seed,
            experiment=self.experiment or RUNS,
            environment=Environment(data_sha256=task.data_sha256),
            predicted=list(task.predicted),
            config=self.redacted(),
        )

    def cell(self, task: Task) -> str:
        """Hash of the configuration and data alone: the same cell under other versions has the same."""
        config = self.config
        used: dict[str, Any] = {
            "data": task.data_sha256,
            "model": [_without(config["model"], "about"), _fingerprint(config["model"]["path"])],
            "context": _used(config["context"]),
            "quantization": config["adaptation"]["quantization"],
            "items": [config["max_eval_examples"], config["max_validation_examples"]],
            "measure": {n: v for n, v in config["measure"].items() if n not in _ADDED or v != _ADDED[n]},
        }
        if self.trains:
            used["training"] = [
                config["adaptation"], config["training"], _used(config["train_context"]), config["seeds"]["train"],
            ]  # fmt: skip
        if self.trains or self.uses_demonstrations:
            used["rows"] = [config["max_train_examples"], config["seeds"]["data"]]
        if self.uses_demonstrations:
            used["demonstrations"] = config["seeds"]["demonstrations"]
        return _hash(used, 10)


def task_folder(name: str, path: str | None) -> Path:
    """A task's folder: the one given, else `./tasks/NAME`, else the shipped one."""
    if path:
        folder = Path(path)
        if not folder.is_dir():
            raise UserError(f"task.path={path}: no such folder.")
        return folder
    if name == "folder":
        raise UserError("task=folder needs task.path=DIR.")
    own = Path("tasks") / name
    return own if (own / "task.yaml").exists() else paths.TASKS / name


def environment_identity() -> dict[str, str | int]:
    """What can change an outcome beside the settings: versions and the device's kind."""
    versions = {name: importlib.metadata.version(name) for name in OUTCOME_PACKAGES}
    device = device_kind()
    return {
        **versions,
        "results": RESULTS_VERSION,
        "device": f"cpu, {matmul.chosen()}" if device == "cpu" else device,
    }


def _fingerprint(folder: str | None) -> list[Any]:
    """What tells one state of a local model's folder from another: names, sizes and times of its files."""
    if not folder:
        return []
    files = sorted(Path(folder).glob("*"))
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]


def _used(context: Mapping[str, Any]) -> dict[str, Any]:
    """A context's own settings."""
    return {name: value for name, value in context.items() if name in ("name", *KNOBS.get(context["name"], ()))}


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _hash(value: Any, length: int) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def redacted_overrides(words: Iterable[str]) -> list[str]:
    """Hydra's overrides without values whose name sounds secret."""
    split = [word.partition("=") for word in words]
    return [name + equals + (value if _is_public(name, value) else REDACTED) for name, equals, value in split]


def _is_public(name: str, value: str) -> bool:
    """Whether neither a name nor one inside the value sounds secret. Hydra writes `{secret:x}`, text to YAML."""
    return all(_redact(read) == read for read in (_read(name, value), _read(name, re.sub(r":(?=\S)", ": ", value))))


def _read(name: str, value: str) -> dict[str, Any]:
    try:
        return {name: yaml.safe_load(value)}
    except yaml.YAMLError:
        return {name: value}


def _redact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: REDACTED
            if part and isinstance(part, str) and any(s in name.lower() for s in _SECRETS)
            else _redact(part)
            for name, part in value.items()
        }
    return [_redact(part) for part in value] if isinstance(value, list) else value
