"""Groups runs into methods: runs that differ only in their training seed. Every command names methods this way.

>>> [method.name for method in methods(load_records("results/sweep"))]
['few_shot (context.k=4)', 'few_shot (context.k=8)', 'lora r8', 'lora r16']
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.records import measures
from harness.records.prediction import Prediction
from harness.records.reading import StoredRecord, flatten
from harness.records.record import Record

SETTINGS = ("model.", "context.", "train_context.", "adaptation.", "training.", "max_train_examples")
"""Settings in which two runs with one label may differ; a difference becomes part of the method's name."""
NOT_NAMED = (".r", "._target_", "lora_alpha", "seed", "model.name", "model.about")
"""Endings of settings that change nothing, follow from others, or are in the label already."""
_RATE, _TRAINED_IN = "training.learning_rate", "train_context."


@dataclass(frozen=True)
class Method:
    """A method on a task: runs that differ only in their seed."""

    name: str
    """lora r8, or "few_shot (context.k=4)" if several methods have that label."""
    variant: Mapping[str, str]
    """The settings in the name, as typed on the command line."""
    runs: tuple[StoredRecord, ...]
    """By seed."""

    @property
    def finished(self) -> tuple[StoredRecord, ...]:
        return tuple(run for run in self.runs if run.record.status == "ok")

    @property
    def ended(self) -> tuple[Record, ...]:
        """Runs that failed, ran out of memory, diverged or were killed."""
        return tuple(run.record for run in self.runs if run.record.status != "ok")

    @property
    def records(self) -> tuple[Record, ...]:
        """Records of the finished runs."""
        return tuple(run.record for run in self.finished)

    @property
    def seeds(self) -> int | None:
        """Number of finished training seeds; None if the method is not trained."""
        return len(self.finished) if any(record.training for record in self.records) else None

    @cached_property
    def predictions(self) -> tuple[Mapping[str, Prediction], ...]:
        """For each finished run, its predictions by item id."""
        return tuple({prediction.id: prediction for prediction in run.predictions()} for run in self.finished)

    @property
    def without_predictions(self) -> list[StoredRecord]:
        """Finished runs whose predictions are missing."""
        return [run for run, predictions in zip(self.finished, self.predictions, strict=True) if not predictions]


def methods(runs: Iterable[StoredRecord]) -> list[Method]:
    """Group runs by label, then by the settings in which runs with one label differ; in the order of the runs."""
    labelled: dict[str, list[StoredRecord]] = {}
    for run in runs:
        labelled.setdefault(run.record.label, []).append(run)
    return [method for label, group in labelled.items() for method in _split(label, group)]


def _split(label: str, runs: Sequence[StoredRecord]) -> list[Method]:
    settings = _settings(runs)
    recorded = [values for values in settings if values]  # a run that crashed early may have none: not a difference
    names = sorted({name for values in recorded for name in values})
    varied = [name for name in names if len({values.get(name) for values in recorded}) > 1]
    groups: dict[tuple[tuple[str, str], ...], list[StoredRecord]] = {}
    for run, values in zip(runs, settings, strict=True):
        groups.setdefault(tuple((name, values[name]) for name in varied if name in values), []).append(run)
    return [
        Method(
            label + (f" ({', '.join(f'{name}={value}' for name, value in variant)})" if variant else ""),
            dict(variant),
            tuple(sorted(members, key=lambda run: run.record.seed)),
        )
        for variant, members in groups.items()
    ]


def _settings(runs: Sequence[StoredRecord]) -> list[dict[str, str]]:
    """Each run's settings that can distinguish methods with one label; empty if the run ended early.

    If one seed chose its learning rate from a list and another seed reuses that rate, both get the list as their
    setting. Runs of different results folders differ in the setting "results".
    """
    settings = [_run_settings(run) for run in runs]
    searched = {
        (run.record.training and run.record.training.learning_rate): values[_RATE]
        for run, values in zip(runs, settings, strict=True)
        if measures.tries(run.record) > 1 and _RATE in values
    }
    several = len({run.root for run in runs}) > 1
    for run, values in zip(runs, settings, strict=True):
        rate = run.record.training and run.record.training.learning_rate
        if rate in searched:
            values[_RATE] = searched[rate]
        if several and values:
            values["results"] = run.root.as_posix()
    return settings


def _run_settings(run: StoredRecord) -> dict[str, str]:
    record = run.record
    if not record.config:
        return {}
    settings = {name: value for name, value in flatten(record.config) if name.startswith(SETTINGS)}
    for name in [name for name in settings if name.startswith(_TRAINED_IN)]:
        if record.train_context is None or settings[name] == settings.get(name.removeprefix("train_")):
            del settings[name]  # nothing was trained, or the training prompt equals the test prompt
    kept = {name: value for name, value in settings.items() if not name.endswith(NOT_NAMED)}
    return {"model": record.model, "adaptation": record.adaptation} | kept
