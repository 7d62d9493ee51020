"""The results folder: where a run lies, files that appear whole or not at all, and locks for what two may want at once.

results/<experiment>/<task>/<model>/<method>/<run_id>/  record.json  predictions.jsonl  validation.jsonl  config.yaml
results/.weights/<key>/                                 trained weights, shared by runs that differ in context only
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.files import slug, write
from harness.records.prediction import Prediction
from harness.records.reading import PREDICTIONS_FILES, RECORD_FILE, read_record
from harness.records.record import Record

Answers = Mapping[str, Sequence[Prediction]]
"""By split."""
WEIGHTS = ".weights"


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


def latest(folder: Path) -> Record | None:
    """The record of a run, whatever its status, else a finished one of the same cell under other versions."""
    if (folder / RECORD_FILE).exists():
        return read_record(folder / RECORD_FILE)
    return finished(folder, other_versions=True)


def save_run(folder: Path, record: Record, answers: Answers, config: Mapping[str, Any]) -> None:
    """Write a run's files, record.json last: a folder with a record is complete. answers: by split, a line an item."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    for split, name in PREDICTIONS_FILES.items():
        if lines := [prediction.to_json() + "\n" for prediction in answers.get(split, ())]:
            write(folder / name, "".join(lines))
    write(folder / RECORD_FILE, record.to_json())


def weights_folder(results: Path, key: str) -> Path:
    """Where trained weights of a key lie, or would lie."""
    return results / WEIGHTS / key
