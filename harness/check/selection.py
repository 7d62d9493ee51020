"""The runs that a selector matches: on each task one method with all its training seeds.

>>> runs = select("results/reference,method=lora,rank=8")
>>> only_method("--baseline", "ticket_routing", runs["ticket_routing"]).name
'lora r8'
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import UserError
from harness.records.methods import Method, methods
from harness.records.reading import StoredRecord, load_records
from harness.text import plain

NARROWING = ("model", "method", "rank", "context", "train_context", "adaptation", "experiment")


Runs = dict[str, list[StoredRecord]]
"""By task."""


def select(selector: str) -> Runs:
    """The matching runs by task; UserError as in `harness.records.reading.load`."""
    runs: Runs = {}
    for stored in load_records(selector):
        runs.setdefault(stored.record.task, []).append(stored)
    return runs


def only_method(side: str, task: str, runs: list[StoredRecord]) -> Method:
    """The only method among these runs; UserError with a narrower selector if there are several."""
    matches = methods(runs)
    if len(matches) > 1:
        names = ", ".join(plain(method.name) for method in matches)
        raise UserError(f"{side}: {plain(task)} has several methods: {names}.\nSelect one: {_narrower(matches)}.")
    (method,) = matches
    seeds = [run.record.seed for run in method.runs]
    duplicates = [run for run in method.runs if seeds.count(run.record.seed) > 1]
    if duplicates:
        folders = ", ".join(str(run.folder) for run in duplicates[:2])
        raise UserError(
            f"{side}: {plain(task)} has several runs of {plain(method.name)} with seed {duplicates[0].record.seed}: "
            f"{folders}.\n"
            "Select one: use a subfolder, or a field such as experiment=NAME or run_id=ID."
        )
    return method


def _narrower(matches: Sequence[Method]) -> str:
    """Advice on a filter that selects only the first method, if fields of a record can do that."""
    first, name = matches[0].runs[0].record, plain(matches[0].name)
    others = [method.runs[0].record for method in matches[1:]]
    for field in NARROWING:
        if all(getattr(first, field) != getattr(other, field) for other in others):
            return f"for {name} add ,{field}={plain(getattr(first, field))} to the selector"
    fields = [f for f in NARROWING if any(getattr(first, f) != getattr(other, f) for other in others)]
    if fields and all(any(getattr(first, f) != getattr(other, f) for f in fields) for other in others):
        filters = "".join(f",{field}={plain(getattr(first, field))}" for field in fields)
        return f"for {name} add {filters} to the selector"
    return f"use a subfolder, or a field such as run_id={first.run_id}"
