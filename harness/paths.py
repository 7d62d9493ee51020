"""Paths: configuration, tasks and the demo (of a checkout or of the wheel), and the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _shipped(name: str) -> Path:
    """The folder `name` beside the package in a checkout, in the package's `data` in a wheel."""
    inside = _PACKAGE / "data" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


CONF = _shipped("conf")
TASKS = _shipped("tasks")
DEMO_RESULTS = _shipped("results") / "demo"
DEMO_REPORT = _shipped("reports") / "demo"
"""The committed run of `experiment=quickstart`: all of results and reports that the wheel has."""


def user_conf() -> Path | None:
    """`./conf` of the person who types the command, where it is another folder than the shipped one."""
    folder = Path("conf").resolve()
    return folder if folder.is_dir() and folder != CONF.resolve() else None


def conf_folders() -> list[Path]:
    """Folders in which a configuration is looked for, the user's own first."""
    user = user_conf()
    return [user, CONF] if user else [CONF]


def cache() -> Path:
    """The user's cache: converted models and embeddings. `HARNESS_CACHE` moves it."""
    if chosen := os.environ.get("HARNESS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adaptation-harness"
