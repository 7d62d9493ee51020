"""records.csv: one flat row a record, for those who would rather count themselves.

Columns are the record's fields joined by dots (`quality.value`, `memory.train.allocated`).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from harness.records import StoredRecord
from harness.report.escaping import cell


def write_csv(stored: list[StoredRecord], folder: Path, path: Path) -> None:
    """The configuration (config.yaml lies beside each record) and tracebacks are left out."""
    table = pd.json_normalize([_flat(s, folder) for s in stored])
    # The names of slices and metrics come from data, so headings are cells too.
    table.columns = pd.Index([cell(name) for name in table.columns])
    table.map(cell).to_csv(path, index=False, lineterminator="\n")


def _flat(stored: StoredRecord, folder: Path) -> dict[str, Any]:
    record = stored.record
    left_out = ("config", "error")
    said = {f"error.{name}": (record.error or {}).get(name) for name in ("type", "message")}
    place = {"label": record.label, "folder": stored.folder.relative_to(folder).as_posix()}
    return {name: part for name, part in asdict(record).items() if name not in left_out} | said | place
