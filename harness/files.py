"""Atomic files and folders, locks between processes, and JSON read line by line."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import UserError

_LOCKS = ".locks"


def slug(name: str) -> str:
    """A name as a file or folder name: letters, digits, dot, dash and underscore, so it cannot leave its folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "unnamed"


def write(path: Path, text: str, *, flush: bool = True) -> None:
    """Write a file atomically: under a temporary name, flushed to disk (if `flush`), then renamed."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        Path(draft).chmod(0o644)
        Path(draft).rename(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


@contextmanager
def lock(place: Path, name: str) -> Iterator[None]:
    """Hold the lock of this name in a folder of results or of the cache; a second process waits."""
    folder = place / _LOCKS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise UserError(f"{place}: cannot be written ({cause.strerror}).") from cause
    held = FileLock(folder / f"{slug(name)}.lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process that works on {name}", flush=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """A temporary folder to fill; it is renamed to `target` if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield draft
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def numbered_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with their line numbers; UserError with file and line if one is not a JSON object."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as cause:
        raise UserError(f"{path}: not UTF-8 text ({cause.reason} at byte {cause.start}).") from cause
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as cause:
            raise UserError(f"{path}:{number}: not JSON: {cause.msg} at column {cause.colno}.") from cause
        if not isinstance(value, dict):
            raise UserError(f"{path}:{number}: a line is a JSON object, this is a {type(value).__name__}.")
        yield number, value
