"""What a selector chooses of each task: one method, its training seeds together.

>>> runs = select("results/reference,method=lora,rank=8")
>>> only_cell("--baseline", "ticket_routing", runs["ticket_routing"]).name
'lora r8'
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from harness.errors import UserError
from harness.records.prediction import Prediction
from harness.records.reading import StoredRecord, flatten, load_records
from harness.records.record import Record
from harness.text import plain

NARROWING = ("model", "method", "rank", "context", "train_context", "adaptation", "experiment")
_SETTINGS = ("model.", "context.", "train_context.", "adaptation.", "training.", "max_train_examples")
_GROUP, _RATE = "training", "learning_rate"
_LEFT_OUT = ("model.about", f"{_GROUP}.{_RATE}")


Runs = dict[str, list[StoredRecord]]
"""By task."""


@dataclass(frozen=True)
class Cell:
    """A method on a task: runs that differ in their seed."""

    name: str
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
        return tuple(run.record for run in self.finished)

    @property
    def seeds(self) -> int | None:
        """Training seeds that finished; None of a method that is not trained."""
        return len(self.finished) if any(record.training for record in self.records) else None

    @cached_property
    def rows(self) -> tuple[dict[str, Prediction], ...]:
        """Predictions by the item's id, of each finished run."""
        return tuple({row.id: row for row in run.predictions()} for run in self.finished)

    @property
    def without_predictions(self) -> list[StoredRecord]:
        return [run for run, rows in zip(self.finished, self.rows, strict=True) if not rows]


def select(selector: str) -> Runs:
    """The runs by task; UserError as in `harness.records.record.load`."""
    found: Runs = {}
    for stored in load_records(selector):
        found.setdefault(stored.record.task, []).append(stored)
    return found


def only_cell(side: str, task: str, runs: list[StoredRecord]) -> Cell:
    """The one method that these runs are of; UserError with how to narrow where they are of several."""
    cells = _cells(runs)
    if len(cells) > 1:
        names = ", ".join(plain(cell.name) for cell in cells)
        raise UserError(f"{side}: {plain(task)} has several methods: {names}.\nName one of them: {_narrower(cells)}.")
    (cell,) = cells
    seeds = [run.record.seed for run in cell.runs]
    twins = [run for run in cell.runs if seeds.count(run.record.seed) > 1]
    if twins:
        where = ", ".join(str(run.folder) for run in twins[:2])
        raise UserError(
            f"{side}: {plain(task)} has several runs of {plain(cell.name)} with seed {twins[0].record.seed}: {where}.\n"
            "Name one of them: give a deeper folder, or a field such as experiment=NAME or run_id=ID."
        )
    return cell


def _cells(runs: list[StoredRecord]) -> list[Cell]:
    """Runs that differ in nothing but their seed, and where they lie; named apart where a label is not enough."""
    groups: dict[object, list[StoredRecord]] = {}
    for run in sorted(runs, key=lambda run: not run.record.config):
        # One that ended before it knew its settings is no method of its own where there is one of its name.
        same = [key for key, group in groups.items() if group[0].record.label == run.record.label]
        known = bool(run.record.config) or not same
        groups.setdefault(_key(run.record) if known else same[0], []).append(run)
    found = [(rate, part) for group in groups.values() for rate, part in _by_rate(group)]
    return [
        Cell(_name(rate, part, found), tuple(sorted(part, key=lambda run: run.record.seed))) for rate, part in found
    ]


def _key(record: Record) -> str:
    fields = record.model, record.method, record.rank, record.adaptation, record.context, record.train_context
    return json.dumps([fields, _settings(record)])


def _by_rate(group: list[StoredRecord]) -> list[tuple[float | None, list[StoredRecord]]]:
    """Runs at several learning rates are several methods, unless each seed has chosen its own on validation.

    Where some seeds train at the rate that another one has chosen, it is the chosen rates that count. A run that ended
    before it had chosen goes with the first.
    """
    given = [(run.record.config.get(_GROUP) or {}).get(_RATE) for run in group]
    rates = [
        (run.record.training and run.record.training.learning_rate) or (rate if isinstance(rate, float) else None)
        for run, rate in zip(group, given, strict=True)
    ]
    known = list(dict.fromkeys(rate for rate in rates if rate is not None))
    if len(known) < 2 or all(isinstance(rate, list) for rate in given):
        return [(None, group)]
    return [
        (rate, [run for run, own in zip(group, rates, strict=True) if (known[0] if own is None else own) == rate])
        for rate in known
    ]


def _name(rate: float | None, part: list[StoredRecord], cells: list[tuple[float | None, list[StoredRecord]]]) -> str:
    """The label, and the settings in which the method differs from others of that label."""
    first = part[0].record
    twins = [other[0].record for _, other in cells if other is not part and other[0].record.label == first.label]
    mine, others = _settings(first), [_settings(twin) for twin in twins]
    said = [f"{name}={value}" for name, value in mine.items() if any(other.get(name) != value for other in others)]
    said += [f"{_GROUP}.{_RATE}={rate:g}"] if twins and rate is not None else []
    return first.label + (f" ({', '.join(said)})" if said else "")


def _settings(record: Record) -> dict[str, str]:
    named = flatten(record.config)
    return {n: v for n, v in named if n.startswith(_SETTINGS) and n not in _LEFT_OUT}


def _narrower(cells: list[Cell]) -> str:
    """A filter that tells the first cell from the others, as far as fields of a record can."""
    first = cells[0].runs[0].record
    others = [cell.runs[0].record for cell in cells[1:]]
    for field in NARROWING:
        if all(getattr(first, field) != getattr(other, field) for other in others):
            return f"for {plain(cells[0].name)} add ,{field}={plain(getattr(first, field))} to the selector"
    parts = [f for f in NARROWING if any(getattr(first, f) != getattr(other, f) for other in others)]
    if parts and all(any(getattr(first, f) != getattr(other, f) for f in parts) for other in others):
        said = "".join(f",{field}={plain(getattr(first, field))}" for field in parts)
        return f"for {plain(cells[0].name)} add {said} to the selector"
    return f"give a deeper folder, or a field such as run_id={first.run_id}"
