"""records.csv: one flat row per record, for your own analysis.

Columns are the record's fields joined by dots (`quality.value`, `memory.train.allocated`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from harness.records.reading import StoredRecord
from harness.records.record import Failure
from harness.text import cell

_LEFT_OUT = ("config", "error")


@dataclass(frozen=True)
class Sheet:
    """Some runs' lines of the spreadsheet."""

    columns: list[str]
    rows: str
    """CSV without its head."""

    @classmethod
    def of(cls, runs: Sequence[StoredRecord]) -> Sheet:
        """A line a run; the configuration (config.yaml lies beside each record) is left out."""
        lines = [{str(cell(name)): cell(value) for name, value in flat(run).items()} for run in runs]
        columns = list(dict.fromkeys(name for line in lines for name in line))
        return cls(columns, _csv([line.get(name) for name in columns] for line in lines))

    def rows_under(self, columns: list[str]) -> str:
        """Its rows under these columns, which have its own among them."""
        if columns == self.columns:
            return self.rows
        import pandas as pd  # takes half a second to load, and a report on runs of one kind does without

        table = pd.read_csv(StringIO(self.rows), names=self.columns, dtype=str, keep_default_na=False)
        return str(table.reindex(columns=columns).to_csv(index=False, header=False, lineterminator="\n"))


def _csv(lines: Iterable[Iterable[Any]]) -> str:
    text = StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def flat(run: StoredRecord) -> dict[str, object]:
    """A record's fields by their names joined by dots, and the folder it is in."""
    return dict(_flat(_said(run)))


def _said(run: StoredRecord) -> dict[str, object]:
    record = run.record
    error = record.error or Failure()
    place = {"results": run.root.resolve().name, "folder": run.folder.relative_to(run.root).as_posix()}
    values = {name: value for name, value in asdict(replace(record, config={})).items() if name not in _LEFT_OUT}
    return values | {"error": {"type": error.type, "message": error.message}, "label": record.label} | place


def _flat(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value) if isinstance(value, list) else value


def write_csv(sheets: Sequence[Sheet], path: Path) -> None:
    """All columns that any sheet has, in the order in which they are met."""
    columns = list(dict.fromkeys(name for sheet in sheets for name in sheet.columns))
    rows = "".join(sheet.rows_under(columns) for sheet in sheets)
    path.write_text(_csv([columns]) + rows, encoding="utf-8", newline="")
