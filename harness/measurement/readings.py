"""What was read of the machine, as data: peaks of memory, and on what a run was made. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from harness.stats import Number


@final
@dataclass(frozen=True)
class Peak:
    """A phase's highest memory in bytes, by who counted."""

    allocated: Number | None = None
    """Of a GPU torch's tensors; of a CPU what is resident beyond the baseline."""
    reserved: Number | None = None
    """torch's allocator."""
    device: Number | None = None
    """The driver's, of the whole GPU."""
    process: Number | None = None
    """The driver's, of this process."""


@final
@dataclass(frozen=True)
class Memory:
    """Peaks by phase."""

    kind: str | None = None
    """cuda | rss."""
    baseline_bytes: Number | None = None
    """Resident after the imports, which is taken off; of a CPU."""
    load: Peak | None = None
    train: Peak | None = None
    evaluate: Peak | None = None
    """The batched evaluation, which is not quoted: its size is ours to choose."""
    infer: Peak | None = None
    """One request at a time."""
    contaminated: str | None = None
    """As records said it before they had a field for it."""


@final
@dataclass(frozen=True)
class Environment:
    """Where a run was made."""

    device: str | None = None
    device_memory_bytes: int | None = None
    cores: int | None = None
    threads: int | None = None
    matmul: str | None = None
    """By what float32 matrices were multiplied on a CPU: torch | oneDNN."""
    python: str | None = None
    platform: str | None = None
    packages: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    dirty: bool | None = None
    """Whether the source had changes that no commit has."""
    results_version: int | None = None
    data_sha256: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    seconds: float | None = None
