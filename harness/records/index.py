"""An index of the runs in results folders: the cohort of each, without reading every record every time.

The user's cache keeps each run's header with the times and sizes of its files. A changed file is read again, and
without the cache all files are: the cache saves time and never changes a report.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness import paths
from harness.errors import UserError
from harness.files import write
from harness.records import measures
from harness.records.reading import (
    RECORD_FILE,
    RUN_FILES,
    StoredRecord,
    no_match,
    read_record,
    split_selector,
    walk,
)
from harness.records.record import NewerSchema, Record

BASELINES_FILE = "baselines.json"
_VERSION = 3
_SELECTED = ("run_id", "status", "task", "probes", "model", "method", "adaptation", "context", "train_context", "rank",
             "seed", "experiment")  # fmt: skip
"""Fields that a selector can filter on without reading the record."""
Stamp = tuple[int, ...]


class Key(NamedTuple):
    """What runs must share to be in one table."""

    task: str
    model: str
    data: str | None
    items: int | None
    device: str | None

    @classmethod
    def of(cls, record: Record) -> Key:
        data, device = measures.data_hash(record), measures.device_kind(record)
        return cls(record.task, record.model, data, measures.items(record), device)


class Header(NamedTuple):
    """What a report needs to know of a run before reading its record."""

    folder: str
    root: Path
    """The results folder that contains the run."""
    stamp: Stamp
    """Times and sizes of its files."""
    key: Key
    fields: dict[str, str]

    def read(self) -> StoredRecord:
        folder = Path(self.folder)
        return StoredRecord(read_record(folder / RECORD_FILE), folder, self.root)


class _Entry(NamedTuple):
    """A header in the cache, without its folder."""

    stamp: Stamp
    key: Key
    fields: dict[str, str]


class _Cached(NamedTuple):
    """The cache's file: entries by folder."""

    version: int
    runs: dict[str, _Entry]


@dataclass
class Found:
    """The contents of some results folders."""

    headers: list[Header]
    left_out: list[str]
    """A message for each record of another schema."""
    baselines: list[Path]
    roots: list[Path]
    cache: Path
    """A cache folder for exactly this selection."""


def scan(selectors: Sequence[str]) -> Found:
    """The runs that any selector matches; UserError as in `reading.load`, for each selector."""
    result = Found([], [], [], [], _cache_folder(selectors))
    for selector in selectors:
        root, filters = split_selector(selector)
        headers, left_out, baselines = _index(root)
        chosen = [header for header in headers if all(_field(header, n) == value for n, value in filters.items())]
        if not chosen:
            raise no_match(selector, bool(headers), left_out)
        folders = {header.folder for header in result.headers}
        result.headers += [header for header in chosen if header.folder not in folders]
        if root not in result.roots:
            result.roots.append(root)
            result.left_out += left_out
            result.baselines += baselines
    return result


def _field(header: Header, name: str) -> str:
    return header.fields[name] if name in header.fields else str(getattr(header.read().record, name))


def _index(root: Path) -> tuple[list[Header], list[str], list[Path]]:
    """A folder's runs, messages on records of another schema, and files of baselines."""
    cache = _cache_folder([str(root)]) / "headers.json"
    cached, current = _read(cache), {}
    headers, left_out, baselines = [], [], []
    for folder, files in walk(str(root)):
        if BASELINES_FILE in files:
            baselines.append(Path(folder, BASELINES_FILE))
        if RECORD_FILE not in files:
            continue
        stamp, entry = _stamp(files), cached.get(folder)
        if entry is None or entry.stamp != stamp:
            try:
                entry = _entry(read_record(Path(folder, RECORD_FILE)), stamp)
            except UserError as cause:
                if not isinstance(cause.__cause__, NewerSchema):
                    raise
                left_out.append(str(cause))
                continue
        current[folder] = entry
        headers.append(Header(folder, root, stamp, entry.key, entry.fields))
    if current != cached:
        keep(cache, _Cached(_VERSION, current))
    return headers, left_out, baselines


def _entry(record: Record, stamp: Stamp) -> _Entry:
    return _Entry(stamp, Key.of(record), {name: str(getattr(record, name)) for name in _SELECTED})


def _stamp(files: Mapping[str, os.DirEntry[str]]) -> Stamp:
    states = [files[name].stat() for name in RUN_FILES if name in files]
    return tuple(number for state in states for number in (state.st_mtime_ns, state.st_size))


def _cache_folder(selectors: Sequence[str]) -> Path:
    """The cache folder for what these selectors match."""
    parts = [str(folder.resolve()) + str(filters) for folder, filters in map(split_selector, selectors)]
    return paths.cache() / "reports" / sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, _Entry]:
    try:
        version, runs = msgspec.json.decode(path.read_bytes(), type=_Cached)
        return runs if version == _VERSION else {}
    except (OSError, msgspec.MsgspecError):
        return {}


def keep(path: Path, value: object) -> None:
    """Write a value to the cache as JSON; do nothing if the cache cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, msgspec.json.encode(value).decode(), flush=False)
    except OSError:
        pass
