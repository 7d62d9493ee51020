"""Which runs are one method: those that differ in nothing but their training seed. Every command names them this way.

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
"""Settings in which two runs of one label may differ; the difference becomes part of the method's name."""
NOT_NAMED = (".r", "._target_", "lora_alpha", "seed", "model.name", "model.about")
"""What changes nothing, follows from the others or is in the label already."""
_RATE, _TRAINED_IN = "training.learning_rate", "train_context."


@dataclass(frozen=True)
class Method:
    """A method on a task: runs that differ in their seed."""

    name: str
    """lora r8, or "few_shot (context.k=4)" if there are several of that label."""
    variant: Mapping[str, str]
    """Those settings, as they would be typed on the command line."""
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
        """Of the runs that finished."""
        return tuple(run.record for run in self.finished)

    @property
    def seeds(self) -> int | None:
        """Training seeds that finished; None of a method that is not trained."""
        return len(self.finished) if any(record.training for record in self.records) else None

    @cached_property
    def predictions(self) -> tuple[Mapping[str, Prediction], ...]:
        """By the item's id, of each finished run."""
        return tuple({one.id: one for one in run.predictions()} for run in self.finished)

    @property
    def without_predictions(self) -> list[StoredRecord]:
        """Finished runs whose predictions are missing."""
        return [run for run, answered in zip(self.finished, self.predictions, strict=True) if not answered]


def methods(runs: Iterable[StoredRecord]) -> list[Method]:
    """Runs by their label, then by the settings in which runs of one label differ; in the order of the runs."""
    labelled: dict[str, list[StoredRecord]] = {}
    for run in runs:
        labelled.setdefault(run.record.label, []).append(run)
    return [method for label, same in labelled.items() for method in _of_label(label, same)]


def _of_label(label: str, runs: Sequence[StoredRecord]) -> list[Method]:
    settings = _settings(runs)
    known = [own for own in settings if own]  # a run that crashed early may have none, which is no difference
    varied = [n for n in sorted({n for own in known for n in own}) if len({own.get(n) for own in known}) > 1]
    groups: dict[tuple[tuple[str, str], ...], list[StoredRecord]] = {}
    for run, own in zip(runs, settings, strict=True):
        groups.setdefault(tuple((name, own[name]) for name in varied if name in own), []).append(run)
    return [
        Method(
            label + (f" ({', '.join(f'{name}={value}' for name, value in variant)})" if variant else ""),
            dict(variant),
            tuple(sorted(members, key=lambda run: run.record.seed)),
        )
        for variant, members in groups.items()
    ]


def _settings(runs: Sequence[StoredRecord]) -> list[dict[str, str]]:
    """What each run was set to, as far as runs of one label may differ in it; nothing if it ended before it knew.

    A rate that another seed has chosen from a list is one choice from that list. Runs of several results folders differ
    in that.
    """
    settings = [_own(run) for run in runs]
    chosen = {
        (run.record.training and run.record.training.learning_rate): own[_RATE]
        for run, own in zip(runs, settings, strict=True)
        if measures.tries(run.record) > 1 and _RATE in own
    }
    several = len({run.root for run in runs}) > 1
    for run, own in zip(runs, settings, strict=True):
        used = run.record.training and run.record.training.learning_rate
        if used in chosen:
            own[_RATE] = chosen[used]
        if several and own:
            own["results"] = run.root.as_posix()
    return settings


def _own(run: StoredRecord) -> dict[str, str]:
    record = run.record
    if not record.config:
        return {}
    named = {name: value for name, value in flatten(record.config) if name.startswith(SETTINGS)}
    for name in [name for name in named if name.startswith(_TRAINED_IN)]:
        if record.train_context is None or named[name] == named.get(name.removeprefix("train_")):
            del named[name]  # nothing was trained, or it was trained as it is asked
    kept = {name: value for name, value in named.items() if not name.endswith(NOT_NAMED)}
    return {"model": record.model, "adaptation": record.adaptation} | kept
