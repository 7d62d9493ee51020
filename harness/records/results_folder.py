"""The results folder: the paths of runs and trained weights, and writing and finding runs.

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
"""Predictions by split."""
WEIGHTS = ".weights"


def run_folder(results: Path, record: Record) -> Path:
    """The folder of a run's files."""
    names = (record.experiment, record.task, record.model, record.method)
    return results.joinpath(*map(slug, names), record.run_id)


def finished(folder: Path, *, other_versions: bool) -> Record | None:
    """The record of this run with status ok; with `other_versions`, also of the same cell with other versions."""
    folders = [folder]
    if other_versions:
        folders += sorted(folder.parent.glob(f"{folder.name.split('-')[0]}-*"))
    for candidate in folders:
        path = candidate / RECORD_FILE
        if path.exists() and (record := read_record(path)).status == "ok":
            return record
    return None


def latest(folder: Path) -> Record | None:
    """The run's record with any status, otherwise a finished one of the same cell with other versions."""
    if (folder / RECORD_FILE).exists():
        return read_record(folder / RECORD_FILE)
    return finished(folder, other_versions=True)


def save_run(folder: Path, record: Record, answers: Answers, config: Mapping[str, Any]) -> None:
    """Write a run's files, record.json last, so that a folder with a record is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    for split, name in PREDICTIONS_FILES.items():
        if lines := [prediction.to_json() + "\n" for prediction in answers.get(split, ())]:
            write(folder / name, "".join(lines))
    write(folder / RECORD_FILE, record.to_json())


def weights_folder(results: Path, key: str) -> Path:
    """The folder for trained weights with this key, which may not exist."""
    return results / WEIGHTS / key
