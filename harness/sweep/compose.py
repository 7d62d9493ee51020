"""From words on the command line to configurations and Hydra jobs.

    cells(["-m", "task=ticket_routing", "method=zero_shot,lora", "training.epochs=1"])
    # [Cell(("task=ticket_routing", "method=zero_shot"), left_out=("training.epochs=1",)),
    #  Cell(("task=ticket_routing", "method=lora", "training.epochs=1"))]

A setting that only some methods of a sweep have is set for those and left out for the others. Hydra itself would refuse
it, since it composes the default method with the words of the whole sweep first.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness import paths
from harness.catalogue import task_names
from harness.errors import UserError
from harness.measurement.machine import native_bfloat16
from harness.settings import Settings, TrainingSettings, precision

FOLDER = "HARNESS_SWEEP"
"""The environment variable that tells jobs the sweep's temporary folder."""
_FLAGS = ("-m", "--multirun")
_FOR_HYDRA = ("hydra.", "hydra/", "+hydra.", "++hydra.")
_PATHS = re.compile(r"(^|[._])(path|root|dir|results|out)=")


@dataclass(frozen=True)
class Cell:
    """One configuration of a sweep."""

    words: tuple[str, ...]
    """The overrides that compose it."""
    left_out: tuple[str, ...] = ()
    """Overrides of a setting that it does not have and another cell has."""

    def chosen(self, group: str) -> str:
        """What the words say of a group: `method` or `task`; empty if nothing."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{group}=")), "")


def cells(words: Sequence[str]) -> list[Cell]:
    """The cells that `harness run` with these words has; UserError if the words are wrong."""
    with _composing():
        return _cells(words)


def compositions(words: Sequence[str], device: str | None = None) -> list[Settings]:
    """The settings of every cell that `harness run` with these words has; UserError if the words are wrong.

    device: cuda | cpu, for which `model.dtype: auto` is resolved; None: this machine's.
    """
    with _composing():
        return [settings_of(_composed(cell.words), device) for cell in _cells(words)]


def settings_of(config: DictConfig, device: str | None = None) -> Settings:
    """A composed configuration as settings; UserError if a value is wrong."""
    try:
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as cause:
        raise UserError(_explained(cause)) from cause
    settings = Settings(precision.resolved(values, native_bfloat16() if device is None else device == "cuda"))
    _check_optimizer(settings)
    return settings


def _check_optimizer(settings: Settings) -> None:
    """UserError for a name that transformers does not know; the default is not looked up, which takes seconds."""
    name = settings.training.optimizer if settings.training else None
    if not isinstance(name, str) or name == TrainingSettings().optimizer:
        return
    from transformers.training_args import OptimizerNames

    known = [one.value for one in OptimizerNames]
    if name not in known:
        close = difflib.get_close_matches(name, known, 3) or known[:3]
        raise UserError(
            f"training.optimizer={name!r}: expected a name that transformers knows, such as {', '.join(close)}, "
            "or a _target_ in torch.optim or bitsandbytes.optim."
        )


def launch(words: Sequence[str], chosen: Sequence[Cell], job: Callable[[DictConfig], None], folder: Path) -> None:
    """Call `job` with each cell's configuration, by the launcher that the words name (Hydra's own: in turn).

    folder: a temporary one, which jobs find as `sweep_folder()`.
    """
    with _composing(folder):
        engine = GlobalHydra.instance().hydra
        assert engine is not None
        master = engine.compose_config("config", [*_named(words), *_search_path()], run_mode=RunMode.MULTIRUN)
        context = HydraContext(config_loader=engine.config_loader, callbacks=Callbacks(master))
        launcher = Plugins.instance().instantiate_launcher(context, task_function=job, config=master)
        for done in launcher.launch([list(cell.words) for cell in chosen], initial_job_idx=0):
            _ = done.return_value  # raises what a job raised


def sweep_folder() -> Path:
    """The sweep's temporary folder, from a job as well."""
    return Path(os.environ[FOLDER])


def place_of_job() -> int:
    """Which cell a job is, from 0."""
    return int(HydraConfig.get().job.num)


def words_of_job() -> list[str]:
    """The overrides that a job was composed with."""
    return list(HydraConfig.get().overrides.task)


def _cells(words: Sequence[str]) -> list[Cell]:
    _check_groups(words)
    whole = hydra.compose("config", [*_named(words), *_search_path()], return_hydra_config=True)
    settings = [_readable(word) for word in words if word not in _FLAGS and not word.startswith(_FOR_HYDRA)]
    given = {_key(word) for word in settings}
    params = (f"{name}={value}" for name, value in (whole.hydra.sweeper.params or {}).items())
    jobs = _split([*(param for param in params if _key(param) not in given), *settings])
    several = any(word in _FLAGS for word in words) or whole.hydra.mode == RunMode.MULTIRUN
    if len(jobs) > 1 and not several:
        raise UserError(f"{' '.join(settings)}: several values are a sweep: harness run -m ...")
    composed = functools.cache(_composed)
    cells = _distinct(_applying(job, composed) for job in jobs)
    for cell in cells:
        settings_of(composed(cell.words))  # a mistake in any cell is reported before the first one starts
    for word in cells[0].left_out if cells else ():
        if all(any(_key(word) == _key(other) for other in cell.left_out) for cell in cells):
            methods = ", ".join(dict.fromkeys(method for cell in cells if (method := cell.chosen("method"))))
            raise UserError(f"{word}: there is no such setting{f' for {methods}' if methods else ''}.")
    return cells


def _distinct(cells: Iterable[Cell]) -> list[Cell]:
    """Each cell once, although several jobs become the same when a setting is left out."""
    left_out: dict[tuple[str, ...], tuple[str, ...]] = {}
    for cell in cells:
        left_out[cell.words] = (*left_out.get(cell.words, ()), *cell.left_out)
    return [Cell(words, tuple(dict.fromkeys(without))) for words, without in left_out.items()]


def _applying(job: Sequence[str], composed: Callable[[tuple[str, ...]], DictConfig]) -> Cell:
    """A job's words without settings that its method (or task, or model) does not have."""
    groups = [word for word in job if _is_group(_key(word))]
    config = composed(tuple(groups))
    left_out = [word for word in job if word not in groups and not _has(config, word)]
    return Cell(tuple(word for word in job if word not in left_out), tuple(left_out))


def _is_group(key: str) -> bool:
    return any((folder / key.partition("@")[0]).is_dir() for folder in paths.conf_folders())


def _has(config: DictConfig, word: str) -> bool:
    """Whether a configuration has the setting that a word changes; one that adds or removes it is Hydra's to judge."""
    if word.startswith(("+", "~")):
        return True
    parent, _, name = _key(word).rpartition(".")
    if parent in config and OmegaConf.is_interpolation(config, parent):  # a copy of another group, which is set there
        return False
    inner = OmegaConf.select(config, parent) if parent else config
    return name in inner.keys() if isinstance(inner, DictConfig) else inner is not None  # noqa: SIM118  (`in` is false of ???)


def _composed(words: Sequence[str]) -> DictConfig:
    return hydra.compose("config", [*words, *_search_path()])


def _named(words: Sequence[str]) -> list[str]:
    """The words that say what is swept and how: the experiment, and what is meant for Hydra."""
    return [word for word in words if _key(word) == "experiment" or word.startswith(_FOR_HYDRA)]


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _search_path() -> list[str]:
    folder = paths.user_conf()
    return [f"hydra.searchpath=[file://{folder}]"] if folder else []


def _split(words: Sequence[str]) -> list[list[str]]:
    """The words of each cell: choices apart, a later word instead of an earlier one of the same key."""
    parsed = OverridesParser.create().parse_overrides(list(words))
    return [list(job) for job in itertools.chain(*BasicSweeper.split_arguments(parsed, None))]


def _readable(word: str) -> str:
    """A word as Hydra's grammar wants it: a path with `=`, commas, brackets or quotes in it becomes a quoted string."""
    key, _, value = word.partition("=")
    path = bool(_PATHS.search(f"{key}=")) or "/" in value
    if _parses(word) and not (path and "," in value and Path(value).exists()):
        return word
    quoted = f"{key}='{value.replace(chr(39), chr(92) + chr(39))}'"
    if path and _parses(quoted):
        return quoted
    raise UserError(f'{word}: cannot be read. A value with =, commas, brackets or blanks is quoted twice: "{quoted}"')


def _parses(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def _check_groups(words: Sequence[str]) -> None:
    """A group set to nothing, on which Hydra fails without a sentence; or a part of a method taken out of it."""
    for word in words:
        group, equals, value = word.partition("=")
        if group in ("adaptation", "training") and value == "none":
            raise UserError(f"{word}: the method would be another one under its name; choose it by method=NAME.")
        if equals and value in ("", "null") and (paths.CONF / group).is_dir():
            raise UserError(f"{word}: {group} takes the name of one of its files (harness list), or is left out.")


@contextlib.contextmanager
def _composing(folder: Path | None = None) -> Iterator[None]:
    """Hydra made ready to compose; what it finds wrong becomes a UserError, whose cause is its own."""
    register()
    with _environment(str(folder or tempfile.gettempdir())):
        try:
            with hydra.initialize_config_dir(str(paths.CONF), version_base="1.3", job_name="harness"):
                yield
        except (HydraException, OmegaConfBaseException) as cause:
            raise UserError(_explained(cause)) from cause


def register() -> None:
    """What a configuration may refer to: every task by its name, and two small resolvers."""
    for name in task_names():
        node = {"name": name, "path": None, "source": {"path": None, "root": None}}
        ConfigStore.instance().store(group="task", name=name, node=node, provider="harness")
    OmegaConf.register_new_resolver("times", lambda factor, value: factor * value, replace=True)
    OmegaConf.register_new_resolver("leaf", lambda path: Path(str(path)).name, replace=True)


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Hydra shall raise what goes wrong instead of printing it; jobs find the sweep's folder."""
    added = {FOLDER: folder, "HYDRA_FULL_ERROR": "1"}
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


def _explained(cause: Exception) -> str:
    """Hydra's and OmegaConf's messages without their internals."""
    message = str(cause).split("Config search path")[0]
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key:", "object_type="))]
    if (at := next((i for i, line in enumerate(kept) if line.startswith("Available options")), None)) is not None:
        kept[at:] = [f"{kept[at]} {', '.join(kept[at + 1 :])}"]
    return re.sub(r"To append to your config use \+(\S+)", r"+\1 would add it.", "\n".join(kept))
