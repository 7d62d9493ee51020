"""Make the runs of a results folder fit to be committed, in place: other people's rows and local folders taken out.

    python benchmarks/publish.py results/reference

Of a task whose rows come from a public data set, predictions keep what statistics need (id, score, metrics, cluster,
slice, tokens, times) and lose prompts, answers and passages. The folder that rows were read from becomes DIR in every
file. Can be repeated; a report on the result needs --no-examples.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness import files
from harness.records.reading import (
    PREDICTIONS_FILE,
    RECORD_FILE,
    VALIDATION_FILE,
    StoredRecord,
    load_records,
    read_lines,
)

KEPT = (
    "id", "score", "metrics", "slice", "prompt_tokens", "completion_tokens", "milliseconds", "demonstrations_left_out",
)  # fmt: skip


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = load_records(sys.argv[1])
    for stored in found:
        folders = [path for path in source(stored) if path and path != "DIR"]
        if any(source(stored)):
            for name in (PREDICTIONS_FILE, VALIDATION_FILE):
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
    if rows := read_lines(path):
        kept = [{name: row[name] for name in KEPT if name in row} | _cluster(row) for row in rows]
        files.write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))


def _cluster(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Which items belong together; by a number, since a name can be a title."""
    named = row.get("cluster")
    known = named is None or str(named).startswith("cluster-")
    return {"cluster": named if known else f"cluster-{sha256(str(named).encode()).hexdigest()[:8]}"}


if __name__ == "__main__":
    main()
