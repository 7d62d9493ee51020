"""The tasks, methods, models and experiments that are available, read from their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import yaml

from harness import paths


class Entry(NamedTuple):
    """A name and what it is."""

    name: str
    about: str


def task_names() -> list[str]:
    """Names of the shipped tasks and of those in `./tasks`."""
    return [folder.name for folder in _task_folders()]


def tasks() -> list[Entry]:
    return [Entry(folder.name, str(_yaml(folder / "task.yaml").get("about", ""))) for folder in _task_folders()]


def methods() -> list[Entry]:
    return [Entry(path.stem, _headline(path)) for path in _configs("method")]


def models() -> list[Entry]:
    return [Entry(path.stem, str(_yaml(path).get("about", ""))) for path in _configs("model")]


def experiments() -> list[Entry]:
    return [Entry(path.stem, _headline(path)) for path in _configs("experiment")]


def task_field(name: str, field: str) -> object:
    """What a task's own file says in a field; None if it says nothing or the task is not here."""
    for folder in _task_folders():
        if folder.name == name:
            return _yaml(folder / "task.yaml").get(field)
    return None


KINDS: dict[str, Callable[[], list[Entry]]] = {
    "tasks": tasks,
    "methods": methods,
    "models": models,
    "experiments": experiments,
}


def _task_folders() -> list[Path]:
    """The user's own first, each name once."""
    folders: dict[str, Path] = {}
    for root in (Path("tasks"), paths.TASKS):
        for definition in sorted(root.glob("*/task.yaml")):
            folders.setdefault(definition.parent.name, definition.parent)
    return [folders[name] for name in sorted(folders)]


def _configs(group: str) -> list[Path]:
    files: dict[str, Path] = {}
    for root in paths.conf_folders():
        for path in sorted((root / group).glob("*.yaml")):
            files.setdefault(path.stem, path)
    return [files[name] for name in sorted(files)]


def _headline(path: Path) -> str:
    """A file's first comment that shows its command: what stands after the command."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# harness run "):
            return line.split("   ", 1)[-1].split("  ", 1)[-1].strip(" #")
    return ""


def _yaml(path: Path) -> dict[str, object]:
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded if isinstance(loaded, dict) else {}
