"""`harness run`: Hydra composes the cells, each cell becomes a run, the exit code comes from what became of them.

    harness run -m task=ticket_routing method=lora rank=4,8,16
    harness run experiment=quickstart

Jobs never raise, so one failed cell never ends a sweep. Hydra writes nothing: its folders are a temporary one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness import places, processes, store
from harness.board import Board
from harness.catalogue import task_names
from harness.contexts import check_applies, check_demonstrations
from harness.environment import describe_device
from harness.errors import NotApplicable, UserError
from harness.pace import Done, Pace, Planned
from harness.progress import spoken
from harness.records import Record
from harness.settings import Settings, redacted_overrides
from harness.tasks import Task

_FOLDER = "HARNESS_SWEEP"
_OUTCOMES = "outcomes.jsonl"
_PLAN = "plan.json"
_HINT = r"There is no such setting, or this method has none of it: ++\1 sets it for those methods of a sweep that do."
OK, FAILED, WRONG = 0, 1, 2


@dataclass(frozen=True)
class Outcome:
    """What became of one cell."""

    cell: str
    status: str
    # a record's status, or: same (finished before), not applicable, wrong configuration
    detail: str
    seconds: float
    number: int
    # its place in the sweep, from 1


class Announce(Callback):
    """Before a sweep: note which cells it has, so that each can say how many are left."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
        jobs = _split([*params, *config.hydra.overrides.task])
        chosen = [dict(word.split("=", 1) for word in job if "=" in word) for job in jobs]
        cells = [Planned(one.get("task", ""), one.get("method", "")) for one in chosen]
        (_sweep_folder() / _PLAN).write_text(json.dumps(cells))
        global _board
        device = describe_device()[0]
        if len(cells) > 1 and sys.stdout and sys.stdout.isatty():
            _board = Board(cells, Pace.of_the_demo(), device)
        else:
            print(f"{len(cells)} cells on {device}", flush=True)


_board: Board | None = None
"""Where this process shows its cells; None where no terminal is watched, and in other processes of a launcher."""


def main(overrides: list[str], *, debug: bool = False) -> int:
    """Run a cell or a sweep; 0, 1 where a run failed, 2 where the configuration is wrong."""
    _check_groups(overrides)
    processes.begin()
    _register()
    with tempfile.TemporaryDirectory(prefix="harness-sweep-") as folder, _environment(folder):
        try:
            _launch(overrides)
        except (HydraException, OmegaConfBaseException) as cause:
            if debug:
                raise
            raise UserError(_explained(cause)) from cause
        except KeyboardInterrupt:
            _leave_board()
            print("\nInterrupted. What was finished is kept; the same command goes on from there.", flush=True)
            return FAILED
        finally:
            _leave_board()
        outcomes = _outcomes(Path(folder))
    if len(outcomes) > 1:
        _print_summary(outcomes)
    return _exit_code(outcomes)


def _leave_board() -> None:
    global _board
    if _board:
        _board.stop()
    _board = None


def _check_groups(overrides: list[str]) -> None:
    """A group set to nothing: Hydra fails on it without a sentence."""
    for word in overrides:
        group, equals, value = word.partition("=")
        if equals and value in ("", "null") and (places.CONF / group).is_dir():
            raise UserError(f"{word}: {group} takes the name of one of its files (harness list), or is left out.")


def compositions(overrides: list[str]) -> list[Settings]:
    """The settings of every cell that `harness run` with these words would have; UserError where they are wrong."""
    _check_groups(overrides)
    _register()
    own = places.user_conf()
    words = [word for word in overrides if word not in ("-m", "--multirun")]
    added = [f"hydra.searchpath=[file://{own}]"] if own else []
    with _environment(tempfile.gettempdir()), hydra.initialize_config_dir(str(places.CONF), version_base="1.3"):
        try:
            found = [hydra.compose("config", overrides=[*job, *added]) for job in _jobs(words, added)]
            return [Settings(OmegaConf.to_container(config, resolve=True)) for config in found]  # type: ignore[arg-type]
        except (HydraException, OmegaConfBaseException) as cause:
            raise UserError(_explained(cause)) from cause


def _jobs(words: list[str], added: list[str]) -> list[list[str]]:
    """The words of each cell: choices apart, and those of an experiment's own sweep."""
    named = [word for word in words if word.startswith(("experiment=", "+experiment=", "hydra."))]
    whole = hydra.compose("config", overrides=[*named, *added], return_hydra_config=True)
    params = [f"{name}={value}" for name, value in (whole.hydra.sweeper.params or {}).items()]
    given = {word.split("=", 1)[0].lstrip("+") for word in words}
    kept = [param for param in params if param.split("=", 1)[0].lstrip("+") not in given]
    return _split([*kept, *words])


def _split(words: list[str]) -> list[list[str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    parsed = OverridesParser.create().parse_overrides(words)
    return [list(job) for job in itertools.chain(*BasicSweeper.split_arguments(parsed, None))]


def job(config: DictConfig) -> None:
    """One cell, in Hydra's hands; never raises but for the user's interruption."""
    began = time.monotonic()
    number, total = _position()
    head = f"[{number}/{total}] " if total > 1 else ""
    try:
        settings = Settings(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
        cell = _name(settings)
        if _board:
            _board.start(number - 1, cell)
        else:
            print(f"{head}{cell}", flush=True)
        status, detail = _run_cell(settings, f"{head}{cell}")
    except (UserError, OmegaConfBaseException) as cause:
        cell = str(config.get("method"))
        status, detail = (
            "wrong configuration",
            cause.args[0] if isinstance(cause, UserError) else _explained(cause),
        )
    outcome = Outcome(cell, status, detail, time.monotonic() - began, number)
    with (_sweep_folder() / _OUTCOMES).open("a") as file:
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
    planned = replace(settings.planned(task), overrides=redacted_overrides(HydraConfig.get().overrides.task))
    results = Path(settings.results)
    folder = store.run_folder(results, planned)
    with store.lock(results, planned.run_id):
        if done := store.finished(folder, other_versions=settings.reuse == "any"):
            other = "" if done.run_id == planned.run_id else f" (made with other versions: {done.run_id})"
            return "same", f"{_result(done)}; finished before{other}"
        record = processes.carry_out(settings.config, planned, folder, title, _board)
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
    if settings.context["name"] == "few_shot":
        check_demonstrations(settings.context, pool)


def _result(record: Record) -> str:
    if record.status != "ok" or not record.quality:
        return (record.error or {}).get("message", "")
    quality, seconds = record.quality, record.environment["seconds"]
    value = f"{quality['metric']} {quality['value']:.2f} ({quality['low']:.2f} to {quality['high']:.2f})"
    trained = f", trained {spoken(record.training['seconds'])}" if record.training else ""
    return f"{value}{trained}, {spoken(seconds)}"


def _launch(overrides: list[str]) -> None:
    own = places.user_conf()
    added = [f"hydra.searchpath=[file://{own}]"] if own else []
    entry = hydra.main(version_base="1.3", config_path=str(places.CONF), config_name="config")(job)
    kept = sys.argv
    flags = [word for word in overrides if word in ("-m", "--multirun")]  # Hydra wants them before the overrides
    sys.argv = ["harness run", *flags, *(word for word in overrides if word not in flags), *added]
    try:
        entry()
    finally:
        sys.argv = kept


def _register() -> None:
    """What a configuration may refer to: every task by its name, and two small resolvers."""
    for name in task_names():
        node = {"name": name, "path": None, "source": {"path": None, "root": None}}
        ConfigStore.instance().store(group="task", name=name, node=node, provider="harness")
    OmegaConf.register_new_resolver("times", lambda factor, value: factor * value, replace=True)
    OmegaConf.register_new_resolver("leaf", lambda path: Path(str(path)).name, replace=True)


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Hydra shall raise what goes wrong instead of printing it; jobs find the sweep's folder."""
    added = {_FOLDER: folder, "HYDRA_FULL_ERROR": "1"}
    kept = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _sweep_folder() -> Path:
    return Path(os.environ[_FOLDER])


def _outcomes(folder: Path) -> list[Outcome]:
    path = folder / _OUTCOMES
    return [Outcome(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def _plan() -> list[Planned]:
    path = _sweep_folder() / _PLAN
    return [Planned(*cell) for cell in json.loads(path.read_text())] if path.exists() else [Planned("", "")]


def _position() -> tuple[int, int]:
    number = HydraConfig.get().job.get("num") if not OmegaConf.is_missing(HydraConfig.get().job, "num") else 0
    return int(number or 0) + 1, len(_plan())


def _time_left(number: int, total: int) -> str:
    """How long the cells after this one take, by those that ran."""
    ran = [o for o in _outcomes(_sweep_folder()) if o.status not in ("same", "not applicable", "wrong configuration")]
    if number >= total or not ran:
        return ""
    cells = _plan()
    seconds = Pace.of_the_demo().left(cells[number:], [Done(cells[o.number - 1], o.seconds) for o in ran])
    return "" if seconds is None else f"   [{total - number} left, about {spoken(seconds)}]"


def _name(settings: Settings) -> str:
    rank = f" r{settings.adaptation.rank}" if settings.adaptation.rank else ""
    seed = f" seed {settings.seed}" if settings.seed else ""
    return f"{settings.task['name']} {settings.method}{rank}{seed}"


def _print_summary(outcomes: list[Outcome]) -> None:
    print()
    for status in dict.fromkeys(o.status for o in outcomes):
        some = [o for o in outcomes if o.status == status]
        print(f"{len(some)} {status}" + ("" if status in ("ok", "same") else ":"))
        if status not in ("ok", "same"):
            for outcome in some:
                print(f"    {outcome.cell}: {outcome.detail}")


def _exit_code(outcomes: list[Outcome]) -> int:
    statuses = {outcome.status for outcome in outcomes}
    if "wrong configuration" in statuses:
        return WRONG
    return OK if statuses <= {"ok", "same", "not applicable"} else FAILED


def _explained(cause: Exception) -> str:
    """Hydra's and OmegaConf's messages without their internals."""
    said = str(cause).split("Config search path")[0]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key:", "object_type="))]
    if (at := next((i for i, line in enumerate(kept) if line.startswith("Available options")), None)) is not None:
        kept[at:] = [f"{kept[at]} {', '.join(kept[at + 1 :])}"]
    return re.sub(r"To append to your config use \+(\S+)", _HINT, "\n".join(kept))
