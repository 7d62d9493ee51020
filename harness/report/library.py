"""Which runs lie in some results folders and where each belongs, without reading every record every time.

What a record said of its place is kept in the user's cache beside the times and sizes of its files. A file that has
changed is read again, and without the cache all are: it saves time and is never what a report rests on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from harness import places
from harness.errors import UserError
from harness.records import (
    PREDICTIONS_FILE,
    NewerSchema,
    Record,
    StoredRecord,
    find_records,
    nothing_chosen,
    read_record,
    split_selector,
)
from harness.report import measures
from harness.store import write

_VERSION = 1
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


@dataclass(frozen=True)
class Header:
    """What has to be known of a run before it is read."""

    folder: Path
    root: Path
    # the results folder in which it was found
    stamp: Stamp
    # times and sizes of its record and its predictions
    key: Key
    fields: dict[str, str]

    def read(self) -> StoredRecord:
        return StoredRecord(read_record(self.folder / "record.json"), self.folder, self.root)


@dataclass(frozen=True)
class Found:
    headers: list[Header]
    left_out: list[str]
    # files of another schema, with what is wrong with them
    roots: tuple[Path, ...]
    cache: Path
    # a folder for what is made of just these


def scan(selectors: Sequence[str]) -> Found:
    """The runs that selectors choose; UserError as in `records.load`, each selector for itself."""
    headers: dict[Path, Header] = {}
    left_out: list[str] = []
    roots = []
    for selector in selectors:
        root, filters = split_selector(selector)
        known, wrong = _headers(root)
        chosen = [header for header in known if all(_says(header, n) == value for n, value in filters.items())]
        if not chosen:
            raise nothing_chosen(selector, bool(known), wrong)
        headers |= {header.folder: header for header in chosen}
        left_out += wrong
        roots.append(root)
    return Found(list(headers.values()), list(dict.fromkeys(left_out)), tuple(dict.fromkeys(roots)), _place(selectors))


def _says(header: Header, name: str) -> str:
    return header.fields[name] if name in header.fields else str(getattr(header.read().record, name))


def _headers(root: Path) -> tuple[list[Header], list[str]]:
    kept = _place([str(root)]) / "headers.json"
    known = _read(kept)
    found, left_out, now = [], [], {}
    for path in find_records(root):
        stamp = _stamp(path)
        name = path.parent.relative_to(root).as_posix()
        entry = known.get(name)
        if entry is None or tuple(entry["stamp"]) != stamp:
            try:
                entry = _entry(read_record(path), stamp)
            except UserError as cause:
                if not isinstance(cause.__cause__, NewerSchema):
                    raise
                left_out.append(str(cause))
                continue
        now[name] = entry
        found.append(Header(path.parent, root, stamp, Key(*entry["key"]), entry["fields"]))
    if now != known:
        keep(kept, json.dumps({"version": _VERSION, "runs": now}))
    return found, left_out


def _entry(record: Record, stamp: Stamp) -> dict[str, Any]:
    return {"stamp": stamp, "key": Key.of(record), "fields": {name: str(getattr(record, name)) for name in _SELECTED}}


def _stamp(path: Path) -> Stamp:
    return tuple(number for file in (path, path.with_name(PREDICTIONS_FILE)) for number in _state(file))


def _state(file: Path) -> Iterator[int]:
    try:
        state = file.stat()
    except FileNotFoundError:
        return
    yield from (state.st_mtime_ns, state.st_size)


def _place(selectors: Sequence[str]) -> Path:
    """The folder of the cache for what these selectors choose."""
    where = [str(split_selector(selector)[0].resolve()) + str(split_selector(selector)[1]) for selector in selectors]
    return places.cache() / "reports" / sha256("\n".join(where).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return dict(kept["runs"]) if kept["version"] == _VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def keep(path: Path, text: str) -> None:
    """Put something into the cache, where there can be one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, text)
    except OSError:
        pass
