"""Records read back: one file, or all below a folder that a selector chooses.

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
    """A record and the folder it lies in, beside predictions.jsonl and config.yaml."""

    record: Record
    folder: Path
    root: Path
    """The results folder in which it was found."""

    def predictions(self, split: str = "test") -> list[Prediction]:
        """Every item's answer and score; none if the file is missing. split: test | validation."""
        return read_predictions(self.folder / PREDICTIONS_FILES[split], Prediction)


def read_record(path: Path) -> Record:
    """The record in one file; UserError with the file's name where it is not a record, or one of another schema."""
    try:
        return Record.from_json(path.read_bytes())
    except NewerSchema as cause:
        raise UserError(f"{path}: {_of_schema(cause)}.") from cause
    except (json.JSONDecodeError, msgspec.MsgspecError, TypeError, UnicodeDecodeError) as cause:
        raise UserError(f"{path}: not a record ({cause}). Move it away or run that cell again.") from cause


def _of_schema(cause: NewerSchema) -> str:
    return f"a record of schema {cause}; this version reads schema {SCHEMA}"


def split_selector(selector: str) -> tuple[Path, dict[str, str]]:
    """`results/,method=lora,rank=8` as a folder, which must be there, and filters on record fields."""
    folder, *conditions = selector.split(",")
    filters = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"Selector {selector!r}: {condition!r} is not field=value.")
        if name not in {f.name for f in fields(Record)}:
            raise UserError(f"Selector {selector!r}: a record has no field {name!r}.")
        filters[name] = value
    found = Path(folder or "results")
    if not found.is_dir():
        raise UserError(f"{found}: no such folder. Make results with: harness run experiment=quickstart")
    return found, filters


def walk(folder: str) -> Iterator[tuple[str, dict[str, os.DirEntry[str]]]]:
    """Every folder below one with its files by name, in a stable order; hidden ones (trained weights) are left out."""
    waiting = [folder]
    while waiting:
        place, folders, files = waiting.pop(), [], {}
        with os.scandir(place) as entries:
            for entry in entries:
                if not entry.is_dir():
                    files[entry.name] = entry
                elif not entry.name.startswith("."):
                    folders.append(entry.path)
        yield place, files
        waiting += sorted(folders, reverse=True)


@dataclass(frozen=True)
class Loaded:
    """Records, and files of another schema with what is wrong with them."""

    records: list[StoredRecord]
    left_out: list[str]


def load(selector: str) -> Loaded:
    """Records chosen by a selector; UserError where the folder is missing or holds none.

    A record of an unknown schema is named and left out.
    """
    folder, filters = split_selector(selector)
    stored, left_out = [], []
    for place in (Path(place) for place, files in walk(str(folder)) if RECORD_FILE in files):
        try:
            stored.append(StoredRecord(read_record(place / RECORD_FILE), place, folder))
        except UserError as cause:
            if not isinstance(cause.__cause__, NewerSchema):
                raise
            left_out.append(str(cause))
    chosen = [s for s in stored if all(str(getattr(s.record, n)) == v for n, v in filters.items())]
    if not chosen:
        raise nothing_chosen(selector, bool(stored), left_out)
    return Loaded(chosen, left_out)


def nothing_chosen(selector: str, some: bool, left_out: Sequence[str]) -> UserError:
    """What to say where a selector chooses nothing of what is there, if there is some."""
    return UserError("\n".join([f"{selector}: no record there" + (" matches." if some else "."), *left_out]))


def load_records(selector: str) -> list[StoredRecord]:
    """The records of `load`; what is left out is printed on standard error."""
    loaded = load(selector)
    for said in loaded.left_out:
        print(f"left out: {said}", file=sys.stderr)
    return loaded.records


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`{"context": {"k": 4}}` as ("context.k", "4"), the way an override is typed."""
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{path}.")
        else:
            yield path, json.dumps(value) if isinstance(value, list | bool) or value is None else str(value)
