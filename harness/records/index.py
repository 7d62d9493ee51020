"""Which runs lie in some results folders and where each belongs, without reading every record every time.

What a record said of its place is kept in the user's cache beside the times and sizes of its files. A file that has
changed is read again, and without the cache all are: it saves time and is never what a report rests on.
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
    nothing_chosen,
    read_record,
    split_selector,
    walk,
)
from harness.records.record import NewerSchema, Record

BASELINES_FILE = "baselines.json"
_VERSION = 3
_SELECTED = ("run_id", "status", "task", "probes", "model", "method", "adaptation", "context", "train_context", "rank",
             "seed", "experiment")  # fmt: skip
"""Fields that a selector can ask for without the record being read."""
Stamp = tuple[int, ...]


class Key(NamedTuple):
    """What runs must share to stand in one table."""

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
    """What has to be known of a run before it is read."""

    folder: str
    root: Path
    """The results folder in which it was found."""
    stamp: Stamp
    """Times and sizes of its files."""
    key: Key
    fields: dict[str, str]

    def read(self) -> StoredRecord:
        folder = Path(self.folder)
        return StoredRecord(read_record(folder / RECORD_FILE), folder, self.root)


class _Entry(NamedTuple):
    """What is kept of a header beside its folder."""

    stamp: Stamp
    key: Key
    fields: dict[str, str]


class _Kept(NamedTuple):
    """The cache's file: entries by folder."""

    version: int
    runs: dict[str, _Entry]


@dataclass
class Found:
    """What lies in some results folders."""

    headers: list[Header]
    left_out: list[str]
    """Files of another schema, with what is wrong with them."""
    baselines: list[Path]
    roots: list[Path]
    cache: Path
    """A folder for what is made of just these."""


def scan(selectors: Sequence[str]) -> Found:
    """The runs that selectors choose; UserError as in `reading.load`, each selector for itself."""
    found = Found([], [], [], [], _place(selectors))
    for selector in selectors:
        root, filters = split_selector(selector)
        known, left_out, baselines = _look(root)
        chosen = [header for header in known if all(_says(header, n) == value for n, value in filters.items())]
        if not chosen:
            raise nothing_chosen(selector, bool(known), left_out)
        already = {header.folder for header in found.headers}
        found.headers += [header for header in chosen if header.folder not in already]
        if root not in found.roots:
            found.roots.append(root)
            found.left_out += left_out
            found.baselines += baselines
    return found


def _says(header: Header, name: str) -> str:
    return header.fields[name] if name in header.fields else str(getattr(header.read().record, name))


def _look(root: Path) -> tuple[list[Header], list[str], list[Path]]:
    """The runs in a folder, records of another schema, and files of baselines."""
    kept = _place([str(root)]) / "headers.json"
    known, now = _read(kept), {}
    found, left_out, baselines = [], [], []
    for place, files in walk(str(root)):
        if BASELINES_FILE in files:
            baselines.append(Path(place, BASELINES_FILE))
        if RECORD_FILE not in files:
            continue
        stamp, entry = _stamp(files), known.get(place)
        if entry is None or entry.stamp != stamp:
            try:
                entry = _entry(read_record(Path(place, RECORD_FILE)), stamp)
            except UserError as cause:
                if not isinstance(cause.__cause__, NewerSchema):
                    raise
                left_out.append(str(cause))
                continue
        now[place] = entry
        found.append(Header(place, root, stamp, entry.key, entry.fields))
    if now != known:
        keep(kept, _Kept(_VERSION, now))
    return found, left_out, baselines


def _entry(record: Record, stamp: Stamp) -> _Entry:
    return _Entry(stamp, Key.of(record), {name: str(getattr(record, name)) for name in _SELECTED})


def _stamp(files: Mapping[str, os.DirEntry[str]]) -> Stamp:
    states = [files[name].stat() for name in RUN_FILES if name in files]
    return tuple(number for state in states for number in (state.st_mtime_ns, state.st_size))


def _place(selectors: Sequence[str]) -> Path:
    """The folder of the cache for what these selectors choose."""
    where = [str(split_selector(selector)[0].resolve()) + str(split_selector(selector)[1]) for selector in selectors]
    return paths.cache() / "reports" / sha256("\n".join(where).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, _Entry]:
    try:
        version, runs = msgspec.json.decode(path.read_bytes(), type=_Kept)
        return runs if version == _VERSION else {}
    except (OSError, msgspec.MsgspecError):
        return {}


def keep(path: Path, value: object) -> None:
    """Put something into the cache, as JSON, where there can be one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, msgspec.json.encode(value).decode(), flush=False)
    except OSError:
        pass
