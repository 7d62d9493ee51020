"""What a selector chooses of each task: one method, its training seeds together.

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
    """The runs by task; UserError as in `harness.records.record.load`."""
    found: Runs = {}
    for stored in load_records(selector):
        found.setdefault(stored.record.task, []).append(stored)
    return found


def only_method(side: str, task: str, runs: list[StoredRecord]) -> Method:
    """The one method that these runs are of; UserError with how to narrow where they are of several."""
    found = methods(runs)
    if len(found) > 1:
        names = ", ".join(plain(method.name) for method in found)
        raise UserError(f"{side}: {plain(task)} has several methods: {names}.\nName one of them: {_narrower(found)}.")
    (method,) = found
    seeds = [run.record.seed for run in method.runs]
    twins = [run for run in method.runs if seeds.count(run.record.seed) > 1]
    if twins:
        where = ", ".join(str(run.folder) for run in twins[:2])
        raise UserError(
            f"{side}: {plain(task)} has several runs of {plain(method.name)} with seed {twins[0].record.seed}: "
            f"{where}.\n"
            "Name one of them: give a deeper folder, or a field such as experiment=NAME or run_id=ID."
        )
    return method


def _narrower(found: Sequence[Method]) -> str:
    """A filter that tells the first method from the others, as far as fields of a record can."""
    first = found[0].runs[0].record
    others = [method.runs[0].record for method in found[1:]]
    for field in NARROWING:
        if all(getattr(first, field) != getattr(other, field) for other in others):
            return f"for {plain(found[0].name)} add ,{field}={plain(getattr(first, field))} to the selector"
    parts = [f for f in NARROWING if any(getattr(first, f) != getattr(other, f) for other in others)]
    if parts and all(any(getattr(first, f) != getattr(other, f) for f in parts) for other in others):
        said = "".join(f",{field}={plain(getattr(first, field))}" for field in parts)
        return f"for {plain(found[0].name)} add {said} to the selector"
    return f"give a deeper folder, or a field such as run_id={first.run_id}"
