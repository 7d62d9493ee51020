"""`harness check --run`: make the runs that a check still needs.

    fill("method=lora", "method=span", ["experiment=gate"], None)

Each side is one method on the tasks of the sweep; how many items and seeds are run is decided by `check.plan`
and printed before the first run starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec

from harness.adaptation import peft_model
from harness.check.plan import Gate, Plan, plan
from harness.check.selection import Runs
from harness.errors import NotApplicable, UserError
from harness.records import results_folder
from harness.records.reading import RECORD_FILE, StoredRecord, read_record
from harness.settings import Settings
from harness.sweep import compose, launch
from harness.tasks.task import Task

_CHOSEN_HERE = ("seed", "seeds.train", "seeds.data", "seeds.demonstrations")


@dataclass(frozen=True)
class Filled:
    """The runs of both sides by task, as they ended, and the plan they were made by."""

    baseline: Runs
    candidate: Runs
    plan: Plan


def fill(baseline: str, candidate: str, words: Sequence[str], margin: float | None) -> Filled:
    """Run what is missing; UserError if a side is not one method, or no task has both.

    baseline, candidate: Hydra overrides, comma-separated (`method=lora,rank=16`). words: overrides of both. margin: in
    place of the configuration's.
    """
    sides = {"--baseline": _overrides(baseline), "--candidate": _overrides(candidate)}
    for word in [*words, *sides["--baseline"], *sides["--candidate"]]:
        if _name(word) in _CHOSEN_HERE:
            raise UserError(f"{word}: how many seeds are run is worked out; gate.seeds=N sets their number.")

    # 1. What both sides can run, and how many items and seeds that takes.
    cells = {side: _by_task(side, compose.compositions([*words, *overrides])) for side, overrides in sides.items()}
    tasks = _common(cells)
    first = next(iter(cells["--baseline"].values()))
    gate = Gate.of(first.config.get("gate"))
    if margin is not None:
        gate = msgspec.structs.replace(gate, margin=margin)
    trained = sum(next(iter(by_task.values())).trains for by_task in cells.values())
    available = {task.name: len(task.splits["test"]) for task in tasks.values()}
    chosen = plan(available, trained, gate, first.max_eval_examples)
    extent = {
        "task": ",".join(tasks),
        "max_eval_examples": max(chosen.items.values()),
        "seed": ",".join(map(str, range(chosen.seeds))),
    }
    shared = [word for word in words if _name(word) not in extent]
    shared += [f"{name}={value}" for name, value in extent.items()]

    # 2. Run what is missing, a sweep a side.
    folders = {side: _folders([*shared, *overrides], tasks) for side, overrides in sides.items()}
    _announce(chosen, sides, [folder for of_side in folders.values() for folder in chain(*of_side.values())])
    for side, overrides in sides.items():
        if launch.main(["-m", *shared, *overrides]) == launch.WRONG:
            raise UserError("No check: the configuration of its runs is wrong (see above).")
        if missing := [folder for folder in chain(*folders[side].values()) if not (folder / RECORD_FILE).exists()]:
            raise UserError(f"No check: {len(missing)} runs of {side} were not made; the same command resumes.")

    # 3. Read how they ended.
    runs = {
        side: {task: _read(of_task, first.results) for task, of_task in of_side.items()}
        for side, of_side in folders.items()
    }
    return Filled(runs["--baseline"], runs["--candidate"], chosen)


def _overrides(side: str) -> list[str]:
    """`method=lora,rank=16` as two overrides."""
    words = re.split(r",(?=[\w.+~@/]+=)", side)
    for word in words:
        if "=" not in word:
            raise UserError(f"{side}: with --run a side is named by overrides, such as method=lora,rank=16.")
    return words


def _name(word: str) -> str:
    """The key that an override sets."""
    return word.split("=", 1)[0].lstrip("+")


def _by_task(side: str, cells: Sequence[Settings]) -> dict[str, Settings]:
    """The side's one cell of each task."""
    by_task: dict[str, Settings] = {}
    for cell in cells:
        if by_task.setdefault(cell.task.name, cell) is not cell:
            raise UserError(f"{side}: several methods on {cell.task.name}; a check compares one with one.")
    return by_task


def _common(cells: Mapping[str, Mapping[str, Settings]]) -> dict[str, Task]:
    """The tasks on which both sides can run, by the name that a configuration gives them."""
    tasks: dict[str, Task] = {}
    refused: dict[str, str] = {}
    for of in cells.values():
        for name, settings in of.items():
            peft_model.check(settings.adaptation)
            tasks[name] = tasks.get(name) or settings.load_task()
            try:
                launch.check_cell(settings, tasks[name])
            except NotApplicable as cause:
                refused[name] = str(cause)
    left = {n: task for n, task in tasks.items() if n not in refused and all(n in of for of in cells.values())}
    if not left:
        raise UserError("; ".join(["No task on which both can run", *refused.values()]) + ".")
    return left


def _folders(words: Sequence[str], tasks: Mapping[str, Task]) -> dict[str, list[Path]]:
    """Where the runs of a side lie, by task; a method that is not trained has one run whatever the seed."""
    by_task: dict[str, dict[Path, None]] = {}
    for settings in compose.compositions(list(words)):
        task = tasks[settings.task.name]
        folder = results_folder.run_folder(settings.results, settings.planned(task))
        if settings.reuse == "any" and (done := results_folder.finished(folder, other_versions=True)):
            folder = folder.parent / done.run_id
        by_task.setdefault(task.name, {})[folder] = None
    return {task: list(folders) for task, folders in by_task.items()}


def _announce(made: Plan, sides: Mapping[str, Sequence[str]], folders: Sequence[Path]) -> None:
    missing = [folder for folder in folders if not results_folder.finished(folder, other_versions=False)]
    against = " against ".join(" ".join(sides[side]) for side in ("--candidate", "--baseline"))
    print("\n".join([against, *made.sentences(), f"Runs: {len(folders)}, {len(missing)} of them still to be made.\n"]))


def _read(folders: Sequence[Path], results: Path) -> list[StoredRecord]:
    return [StoredRecord(read_record(folder / RECORD_FILE), folder, results) for folder in folders]
