"""Make the runs of a results folder fit to be committed, in place: other people's rows and local folders taken out.

    python benchmarks/publish.py results/reference

Of a task whose rows come from a public data set, predictions keep what statistics need (id, score, metrics, cluster,
slice, tokens, times) and lose prompts, answers and passages. The folder that rows were read from becomes DIR in every
file. Can be repeated; a report on the result needs --no-examples.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness import files
from harness.records.prediction import Prediction, read_predictions
from harness.records.reading import (
    PREDICTIONS_FILES,
    RECORD_FILE,
    StoredRecord,
    load_records,
)

TEXTS: dict[str, Any] = {"prompt": None, "completion": None, "generated": None, "evidence": (), "log_likelihoods": {}}
"""What of a prediction may not be passed on, and what is left in its place."""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = load_records(sys.argv[1])
    for stored in found:
        folders = [path for path in source(stored) if path and path != "DIR"]
        if any(source(stored)):
            for name in PREDICTIONS_FILES.values():
                strip(stored.folder / name)
        for name in (RECORD_FILE, "config.yaml"):
            path = stored.folder / name
            text = path.read_text(encoding="utf-8")
            for folder in folders:
                text = text.replace(folder, "DIR")
            files.write(path, text)
    print(f"{len(found)} runs in {sys.argv[1]}")


def source(stored: StoredRecord) -> list[Any]:
    """The local folders that the run's rows were read from."""
    given = stored.record.config.get("task", {}).get("source") or {}
    return [given.get("path"), given.get("root")]


def strip(path: Path) -> None:
    if rows := read_predictions(path, Prediction):
        kept = [replace(row, cluster=_cluster(row), **TEXTS) for row in rows]
        files.write(path, "".join(row.to_json() + "\n" for row in kept))


def _cluster(row: Prediction) -> str | float | None:
    """Which items belong together; by a number, since a name can be a title."""
    named = row.cluster
    known = named is None or str(named).startswith("cluster-")
    return named if known else f"cluster-{sha256(str(named).encode()).hexdigest()[:8]}"


if __name__ == "__main__":
    main()
