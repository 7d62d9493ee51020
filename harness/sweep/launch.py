"""`harness run`: Hydra composes the cells, each cell is started as a run, the exit code says whether all succeeded.

    harness run -m task=ticket_routing method=lora rank=4,8,16
    harness run experiment=quickstart

Jobs never raise, so one failed cell never ends a sweep. Hydra writes nothing: its folders are a temporary one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from harness import files
from harness.contexts.context import check_applies
from harness.contexts.demonstrations import check_demonstrations
from harness.errors import NotApplicable, UserError
from harness.measurement.machine import describe_device
from harness.progress import spoken
from harness.records import measures, results_folder
from harness.records.record import Record
from harness.settings import Settings, redacted_overrides
from harness.sweep import compose, start_run
from harness.sweep.board import Board
from harness.sweep.compose import Cell
from harness.sweep.time_left import Done, Pace, Planned
from harness.tasks.task import Task
from harness.text import with_interval

_OUTCOMES = "outcomes.jsonl"
_PLAN = "plan.json"
_NOT_RUN = ("same", "not applicable", "wrong configuration")
OK, FAILED, WRONG = 0, 1, 2


@dataclass(frozen=True)
class Outcome:
    """How one cell ended."""

    cell: str
    status: str
    """A record's status, or: same (finished before), not applicable, wrong configuration."""
    detail: str
    seconds: float
    number: int
    """Its place in the sweep, from 1."""


_board: Board | None = None
"""Where this process shows its cells; None where no terminal is watched, and in other processes of a launcher."""


def main(overrides: list[str], *, debug: bool = False) -> int:
    """Run a cell or a sweep; 0, 1 if a run failed, 2 if the configuration is wrong."""
    global _board
    start_run.begin()
    try:
        chosen = compose.cells(overrides)
        with tempfile.TemporaryDirectory(prefix="harness-sweep-") as name:
            folder, device = Path(name), describe_device()[0]
            plan = [Planned(cell.chosen("task"), cell.chosen("method")) for cell in chosen]
            (folder / _PLAN).write_text(json.dumps(plan))
            if len(chosen) > 1 and sys.stdout and sys.stdout.isatty():
                _board = Board(plan, Pace.of_the_demo(), device)
            else:
                print(f"{len(chosen)} {'cell' if len(chosen) == 1 else 'cells'} on {device}", flush=True)
            compose.launch(overrides, chosen, job, folder)
            outcomes = _outcomes(folder)
    except UserError as mistake:
        if debug and mistake.__cause__:
            raise mistake.__cause__ from None
        raise
    except KeyboardInterrupt:
        _leave_board()
        print("\nInterrupted. What was finished is kept; the same command resumes.", flush=True)
        return FAILED
    finally:
        _leave_board()
    _print_left_out(chosen)
    if len(outcomes) > 1:
        _print_summary(outcomes)
    return _exit_code(outcomes)


def _leave_board() -> None:
    global _board
    if _board:
        _board.stop()
    _board = None


def job(config: DictConfig) -> None:
    """Run one cell as a Hydra job; raises only if the user interrupts."""
    began = time.monotonic()
    number, total = _position()
    head = f"[{number}/{total}] " if total > 1 else ""
    try:
        settings = compose.settings_of(config)
        cell = _name(settings)
        if _board:
            _board.start(number - 1, cell)
        else:
            print(f"{head}{cell}", flush=True)
        status, detail = _run_cell(settings, f"{head}{cell}")
    except UserError as cause:
        cell, status, detail = str(config.get("method")), "wrong configuration", str(cause.args[0])
    outcome = Outcome(cell, status, detail, time.monotonic() - began, number)
    with (compose.sweep_folder() / _OUTCOMES).open("a") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")
    if _board:
        _board.finish(number - 1, cell, status, detail, outcome.seconds)
    else:
        print(f"{head}{cell}: {status}  {detail}{_time_left(number, total)}", flush=True)


def _run_cell(settings: Settings, title: str) -> tuple[str, str]:
    """Skip a cell that does not apply or is finished; carry it out otherwise. Status and a line of detail."""
    task = settings.load_task()
    try:
        check_cell(settings, task)
    except NotApplicable as cause:
        return "not applicable", str(cause)
    planned = replace(settings.planned(task), overrides=redacted_overrides(compose.words_of_job()))
    results = Path(settings.results)
    folder = results_folder.run_folder(results, planned)
    with files.lock(results, planned.run_id):
        if done := results_folder.finished(folder, other_versions=settings.reuse == "any"):
            other = "" if done.run_id == planned.run_id else f" (made with other versions: {done.run_id})"
            return "same", f"{_result(done)}; finished before{other}"
        record = start_run.carry_out(settings.config, planned, folder, title, _board)
    return record.status, _result(record)


def check_cell(settings: Settings, task: Task) -> None:
    """What can be wrong with a cell, found before a model is loaded: UserError, or NotApplicable."""
    check_applies(settings.context, task)
    if settings.trains:
        check_applies(settings.train_context, task)
    pool = task.take("train", settings.max_train_examples, settings.seeds["data"])
    if not pool and (settings.trains or settings.uses_demonstrations):
        raise NotApplicable(f"{task.name} has no training rows")
    if settings.trains_on_documents and not task.corpus:
        raise NotApplicable(f"{task.name} has no documents to train on")
    if settings.context.name == "few_shot":
        check_demonstrations(settings.context, pool)


def _result(record: Record) -> str:
    if record.status != "ok" or not record.quality:
        return (record.error and record.error.message) or ""
    value = f"{record.quality.metric} {with_interval(measures.quality(record))}"
    trained = f", trained {spoken(record.training.seconds or 0)}" if record.training else ""
    return f"{value}{trained}, {spoken(record.environment.seconds or 0)}"


def _outcomes(folder: Path) -> list[Outcome]:
    path = folder / _OUTCOMES
    return [Outcome(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def _plan() -> list[Planned]:
    path = compose.sweep_folder() / _PLAN
    return [Planned(*cell) for cell in json.loads(path.read_text())]


def _position() -> tuple[int, int]:
    return compose.place_of_job() + 1, len(_plan())


def _time_left(number: int, total: int) -> str:
    """Time left for the remaining cells, estimated from those that ran."""
    ran = [o for o in _outcomes(compose.sweep_folder()) if o.status not in _NOT_RUN]
    if number >= total or not ran:
        return ""
    cells = _plan()
    seconds = Pace.of_the_demo().left(cells[number:], [Done(cells[o.number - 1], o.seconds) for o in ran])
    return "" if seconds is None else f"   [{total - number} left, about {spoken(seconds)}]"


def _name(settings: Settings) -> str:
    seed = f" seed {settings.seed}" if settings.seed else ""
    return f"{settings.task.name} {settings.label}{seed}"


def _print_left_out(chosen: Sequence[Cell]) -> None:
    """Print which settings were applied to only some cells."""
    for word in dict.fromkeys(word for cell in chosen for word in cell.left_out):
        without = dict.fromkeys(cell.chosen("method") for cell in chosen if word in cell.left_out)
        print(f"{word}: left out for {', '.join(without)} (no such setting)")


def _print_summary(outcomes: list[Outcome]) -> None:
    print()
    for status in dict.fromkeys(o.status for o in outcomes):
        alike = [o for o in outcomes if o.status == status]
        print(f"{len(alike)} {status}" + ("" if status in ("ok", "same") else ":"))
        if status not in ("ok", "same"):
            for outcome in alike:
                print(f"    {outcome.cell}: {outcome.detail}")


def _exit_code(outcomes: list[Outcome]) -> int:
    statuses = {outcome.status for outcome in outcomes}
    if "wrong configuration" in statuses:
        return WRONG
    return OK if statuses <= {"ok", "same", "not applicable"} else FAILED
