"""The results folder: where a run lies, files that appear whole or not at all, and locks for what two may want at once.

results/<experiment>/<task>/<model>/<method>/<run_id>/  record.json  predictions.jsonl  validation.jsonl  config.yaml
results/.weights/<key>/                                 trained weights, shared by runs that differ in context only
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from harness.errors import UserError
from harness.records import PREDICTIONS_FILE, RECORD_FILE, VALIDATION_FILE, Record, read_record

Answers = Mapping[str, Iterable[Mapping[str, Any]]]
WEIGHTS = ".weights"
_LOCKS = ".locks"


def slug(name: str) -> str:
    """A name as a folder: letters, digits, dot, dash and underscore, never a way out of the results folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "unnamed"


def run_folder(results: Path, record: Record) -> Path:
    """Where a run's files lie."""
    names = (record.experiment, record.task, record.model, record.method)
    return results.joinpath(*map(slug, names), record.run_id)


def finished(folder: Path, *, other_versions: bool) -> Record | None:
    """The record of the same run with status ok; with `other_versions` also of the same cell under any versions."""
    folders = [folder]
    if other_versions:
        folders += sorted(folder.parent.glob(f"{folder.name.split('-')[0]}-*"))
    for candidate in folders:
        path = candidate / RECORD_FILE
        if path.exists() and (record := read_record(path)).status == "ok":
            return record
    return None


def save_run(folder: Path, record: Record, answers: Answers, config: Mapping[str, Any]) -> None:
    """Write a run's files, record.json last: a folder with a record is complete. answers: by split, a line an item."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    for split, name in (("test", PREDICTIONS_FILE), ("validation", VALIDATION_FILE)):
        if lines := [json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers.get(split, ())]:
            write(folder / name, "".join(lines))
    write(folder / RECORD_FILE, record.to_json())


def write(path: Path, text: str, *, flush: bool = True) -> None:
    """A file that appears whole or not at all: a temporary name, flushed to disk (or not: a cache's), renamed."""
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
def lock(results: Path, name: str) -> Iterator[None]:
    """One at a time for a run or for trained weights; another process waits."""
    folder = results / _LOCKS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise UserError(f"results={results}: cannot be written ({cause.strerror}).") from cause
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


def weights_folder(results: Path, key: str) -> Path:
    """Where trained weights of a key lie, or would lie."""
    return results / WEIGHTS / key


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name only when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield draft
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
