"""Reads records: one file, or all below a folder that match a selector.

for stored in load_records("results/,method=lora,rank=8"):
    stored.record.quality.value, stored.predictions()
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UserError
from harness.records.prediction import Prediction, read_predictions
from harness.records.record import SCHEMA, NewerSchema, Record

RECORD_FILE = "record.json"
PREDICTIONS_FILE = "predictions.jsonl"
VALIDATION_FILE = "validation.jsonl"
PREDICTIONS_FILES = {"test": PREDICTIONS_FILE, "validation": VALIDATION_FILE}
"""By split."""
RUN_FILES = (RECORD_FILE, PREDICTIONS_FILE, VALIDATION_FILE)


@dataclass(frozen=True)
class StoredRecord:
    """A record and its folder, which also contains predictions.jsonl and config.yaml."""

    record: Record
    folder: Path
    root: Path
    """The results folder that contains the run."""

    def predictions(self, split: str = "test") -> list[Prediction]:
        """Every item's answer and score; empty if the file is missing. split: test | validation."""
        return read_predictions(self.folder / PREDICTIONS_FILES[split], Prediction)


def read_record(path: Path) -> Record:
    """The record in one file; UserError with the file's name if it is not a record, or has another schema."""
    try:
        return Record.from_json(path.read_bytes())
    except NewerSchema as cause:
        raise UserError(f"{path}: a record of schema {cause}; this version reads schema {SCHEMA}.") from cause
    except (json.JSONDecodeError, msgspec.MsgspecError, TypeError, UnicodeDecodeError) as cause:
        raise UserError(f"{path}: not a record ({cause}). Move it away or run that cell again.") from cause


def split_selector(selector: str) -> tuple[Path, dict[str, str]]:
    """Split `results/,method=lora,rank=8` into a folder, which must exist, and filters on record fields."""
    folder, *conditions = selector.split(",")
    filters = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"Selector {selector!r}: {condition!r} is not field=value.")
        if name not in {f.name for f in fields(Record)}:
            raise UserError(f"Selector {selector!r}: a record has no field {name!r}.")
        filters[name] = value
    root = Path(folder or "results")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder. Create results with: harness run experiment=quickstart")
    return root, filters


def walk(folder: str) -> Iterator[tuple[str, dict[str, os.DirEntry[str]]]]:
    """A folder and all below it with their files by name, in a stable order; skips hidden ones (trained weights)."""
    pending = [folder]
    while pending:
        current, folders, files = pending.pop(), [], {}
        with os.scandir(current) as entries:
            for entry in entries:
                if not entry.is_dir():
                    files[entry.name] = entry
                elif not entry.name.startswith("."):
                    folders.append(entry.path)
        yield current, files
        pending += sorted(folders, reverse=True)


@dataclass(frozen=True)
class Loaded:
    """Records, and a message for each record of another schema."""

    records: list[StoredRecord]
    left_out: list[str]


def load(selector: str) -> Loaded:
    """The records that match a selector; UserError if the folder is missing or nothing matches.

    Records of another schema are left out, with a message each.
    """
    folder, filters = split_selector(selector)
    stored, left_out = [], []
    for run_folder in (Path(path) for path, files in walk(str(folder)) if RECORD_FILE in files):
        try:
            stored.append(StoredRecord(read_record(run_folder / RECORD_FILE), run_folder, folder))
        except UserError as cause:
            if not isinstance(cause.__cause__, NewerSchema):
                raise
            left_out.append(str(cause))
    chosen = [s for s in stored if all(str(getattr(s.record, n)) == v for n, v in filters.items())]
    if not chosen:
        raise no_match(selector, bool(stored), left_out)
    return Loaded(chosen, left_out)


def no_match(selector: str, any_records: bool, left_out: Sequence[str]) -> UserError:
    """The error for a selector that matches no record, whether or not the folder has any."""
    return UserError("\n".join([f"{selector}: no record " + ("matches." if any_records else "found."), *left_out]))


def load_records(selector: str) -> list[StoredRecord]:
    """The records of `load`; messages on records left out go to standard error."""
    loaded = load(selector)
    for message in loaded.left_out:
        print(f"left out: {message}", file=sys.stderr)
    return loaded.records


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`{"context": {"k": 4}}` as ("context.k", "4"), like an override on the command line."""
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{path}.")
        else:
            yield path, json.dumps(value) if isinstance(value, list | bool) or value is None else str(value)
