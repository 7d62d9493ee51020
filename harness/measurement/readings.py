"""Measurements as data: memory peaks and the environment of a run. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from harness.stats import Number


@final
@dataclass(frozen=True)
class Peak:
    """A phase's peak memory in bytes, by source."""

    allocated: Number | None = None
    """On a GPU torch's tensors; on a CPU resident memory above the baseline."""
    reserved: Number | None = None
    """Memory that torch's allocator holds on a GPU."""
    device: Number | None = None
    """The driver's figure for the whole GPU."""
    process: Number | None = None
    """The driver's figure for this process."""

    def quoted(self, reading: str | None) -> Number | None:
        """The peak that reports quote: the one that `Memory.reading` names; without a name the first that is known."""
        if reading is None:
            return self.process or self.device or self.allocated
        value: Number | None = getattr(self, reading)
        return value


@final
@dataclass(frozen=True)
class Memory:
    """Peaks by phase."""

    kind: str | None = None
    """cuda | rss."""
    reading: str | None = None
    """Which figure of a GPU reports quote: process | device | reserved, the first that the driver knows."""
    baseline_bytes: Number | None = None
    """Resident memory after the imports on a CPU, already subtracted from the peaks."""
    load: Peak | None = None
    train: Peak | None = None
    evaluate: Peak | None = None
    """The batched evaluation; not reported, since it depends on the harness's batch size."""
    infer: Peak | None = None
    """One request at a time."""
    contaminated: str | None = None
    """Old records only; new ones list the reasons in a field of the record."""


@final
@dataclass(frozen=True)
class Environment:
    """The machine and software of a run."""

    device: str | None = None
    device_memory_bytes: int | None = None
    cores: int | None = None
    threads: int | None = None
    matmul: str | None = None
    """The library that multiplied float32 matrices on a CPU: torch | oneDNN."""
    python: str | None = None
    platform: str | None = None
    packages: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    dirty: bool | None = None
    """Whether the source had uncommitted changes."""
    results_version: int | None = None
    data_sha256: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    seconds: float | None = None
