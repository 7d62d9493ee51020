"""Baselines in a results folder: quality without a language model on the same rows and items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.errors import UserError
from harness.stats import Estimate


@dataclass(frozen=True)
class Baseline:
    """One baseline of one task."""

    name: str
    task: str
    data: str | None
    n: int | None
    metric: str | None
    estimate: Estimate


class BaselinesFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """baselines.json: values with intervals, without rows."""

    task: str
    data_sha256: str | None = None
    metric: str | None = None
    rows: int | None = None
    """Labelled rows that a baseline may learn from."""
    n: int | None = None
    """Test items."""
    baselines: Mapping[str, Estimate] = {}
    """By the baseline's name."""

    def to_json(self) -> str:
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"


def read_baselines(path: Path) -> Iterable[Baseline]:
    """The baselines in a file; UserError if the file holds anything else."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=BaselinesFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as cause:
        raise UserError(f"{path}: not a file of baselines ({cause}). Delete it or create it again.") from cause
    for name, estimate in file.baselines.items():
        yield Baseline(name, file.task, file.data_sha256, file.n, file.metric, estimate)
