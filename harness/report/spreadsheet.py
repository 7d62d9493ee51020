"""records.csv: one flat row a record, for those who would rather count themselves.

Columns are the record's fields joined by dots (`quality.value`, `memory.train.allocated`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from harness.records import StoredRecord
from harness.report.escaping import cell

_LEFT_OUT = ("config", "error")


Columns = Mapping[str, list[Any]]


def columns(runs: Sequence[StoredRecord]) -> Columns:
    """A cell a run in every column; the configuration (config.yaml lies beside each record) is left out."""
    lines = [{str(cell(name)): cell(value) for name, value in _flat(_said(run))} for run in runs]
    names = dict.fromkeys(name for line in lines for name in line)
    return {name: [line.get(name) for line in lines] for name in names}


def _said(run: StoredRecord) -> dict[str, Any]:
    record = run.record
    error = {name: (record.error or {}).get(name) for name in ("type", "message")}
    place = {"results": run.root.resolve().name, "folder": run.folder.relative_to(run.root).as_posix()}
    said = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in _LEFT_OUT}
    return said | {"error": error, "label": record.label} | place


def _flat(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value) if isinstance(value, list) else value


def write_csv(parts: Sequence[Columns], path: Path) -> None:
    """All columns that any part has, in the order in which they are met."""
    table = pd.concat([pd.DataFrame(part, dtype=object) for part in parts], ignore_index=True)
    table.to_csv(path, index=False, lineterminator="\n")
