"""Measure memory and time; `memory_probes` reads the device, `cpu_allocator` sets up a CPU.

Memory is a peak per phase: load, train, infer (one request at a time) and evaluate (the batched evaluation, which is
not reported). On a GPU these are torch's allocated and reserved peaks, and the driver's figures for the device and, if
available, for this process. The driver's figure is the headline, since torch sees neither the CUDA context nor paged
optimizers; the record names the figure, and different ones are never compared. On a CPU it is the process's peak
resident memory minus the resident memory after the imports. The kernel's high-water mark is reset at the start of each
phase (`/proc/self/clear_refs`), so a peak belongs to its phase. Every run is a separate process, so a peak belongs to
its run.

Time is a monotonic clock, read once the device is idle, and divided into load, data, tuning, training (optimisation
steps only), validation, save, inference, latency, retention and other (the rest). A latency comes with the spread of
its repeats.

A figure is marked as contaminated if something else used the device: a GPU in use at the start, shared with another
process or throttled by its driver; on a CPU other processes, or memory swapped out; and after too few repeats.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields

import torch

from harness.measurement.memory_probes import CpuTicks, Cuda, Neighbours, Resident, cpu_ticks
from harness.measurement.readings import Memory, Peak
from harness.stats import Number

LEAST_REQUESTS = 8
"""A latency with fewer repeats gets a remark; the default is 20 repeats."""
PARTS = ("load", "data", "tuning", "training", "validation", "save", "inference", "latency", "retention")


def synchronise() -> None:
    """Wait until the device is idle."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def now() -> float:
    """Seconds, once the device is idle."""
    synchronise()
    return time.perf_counter()


Mark = float | torch.cuda.Event


def mark() -> Mark:
    """A moment for `seconds_between`; on a GPU an event of its stream, so that the program need not wait for it."""
    if not torch.cuda.is_available():
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between(first: Mark, second: Mark) -> float:
    """Seconds from one mark to a later one."""
    if isinstance(first, float) or isinstance(second, float):
        return float(second) - float(first)  # type: ignore[arg-type]
    second.synchronize()
    return first.elapsed_time(second) / 1000


class Meter:
    """Peak memory by phase, time by part, and what contaminated either, for this process.

    >>> meter = Meter()
    >>> with meter.phase("load"): ...
    >>> meter.peaks["load"]      # Peak(allocated=...), in bytes
    >>> with meter.spending("data"): ...
    >>> meter.spent["data"]      # seconds

    `clock` reads seconds and `cpu_counter` the ticks of the CPUs; a test gives its own.
    """

    def __init__(
        self,
        gauge: Resident | Cuda | None = None,
        clock: Callable[[], float] = now,
        cpu_counter: Callable[[], CpuTicks | None] = cpu_ticks,
    ) -> None:
        self.peaks: dict[str, Peak] = {}
        self.spent: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._gauge = gauge or (Cuda() if torch.cuda.is_available() else Resident())
        self._clock, self._cpu_counter = clock, cpu_counter
        # On a GPU the CPUs' other work is not what disturbs a run, and under a CPU quota it is another tenant's.
        self._neighbours = Neighbours(cpu_counter if self._gauge.kind == "rss" else lambda: None)

    def begin(self) -> None:
        """Set a CPU's memory baseline; a GPU's was read when the meter was created."""
        gc.collect()
        self._gauge.begin()

    def another(self) -> Meter:
        """A fresh meter with the same memory baseline, for one of several trials."""
        return Meter(self._gauge, self._clock, self._cpu_counter)

    @property
    def kind(self) -> str:
        """cuda | rss."""
        return self._gauge.kind

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a block's peak memory; a phase that is entered several times keeps its highest peak."""
        self.start()
        try:
            yield
        finally:
            self.stop(name)

    def start(self) -> None:
        self._gauge.reset()
        self._neighbours.start()

    def stop(self, name: str) -> None:
        self._neighbours.stop(name)
        self.peaks[name] = highest(self.peaks.get(name), self._gauge.peak(name))

    @contextmanager
    def spending(self, name: str) -> Iterator[None]:
        """Add a block's seconds to a part; blocks must not be nested."""
        began = self._clock()
        try:
            yield
        finally:
            self.spent[name] += self._clock() - began

    def headline(self, phase: str) -> Number | None:
        """A phase's reported peak: the driver's on a GPU, resident memory on a CPU; None if the phase did not run."""
        peak = self.peaks.get(phase)
        return peak.quoted(self._gauge.reading) if peak else None

    def settle(self) -> None:
        """Return freed memory to the system, so that the next phase does not start with it."""
        gc.collect()
        self._gauge.release()

    def seconds(self, total: float) -> dict[str, float]:
        """The run's seconds by part; the parts add up to `total`."""
        parts = {name: self.spent[name] for name in PARTS}
        return {**parts, "other": total - sum(parts.values())}

    def contaminated(self) -> dict[str, list[str]]:
        """Why figures (memory, training, latency) are contaminated; figures without a reason are absent."""
        gauge = self._gauge
        reasons = {
            "memory": gauge.memory_remarks(),
            "training": [*gauge.time_remarks("train"), *self._neighbours.remark("train")]
            if "train" in self.peaks
            else [],
            "latency": [*gauge.time_remarks("infer"), *self._neighbours.remark("infer")],
        }
        return {name: remarks for name, remarks in reasons.items() if remarks}

    def memory(self) -> Memory:
        """The peaks so far."""
        load, train, evaluate, infer = (self.peaks.get(phase) for phase in ("load", "train", "evaluate", "infer"))
        return Memory(self.kind, self._gauge.reading, self._gauge.baseline_bytes, load, train, evaluate, infer)


def highest(first: Peak | None, second: Peak) -> Peak:
    """The higher of two peaks in each figure."""
    pairs = {part.name: (getattr(first or Peak(), part.name), getattr(second, part.name)) for part in fields(Peak)}
    known = {name: [value for value in pair if value is not None] for name, pair in pairs.items()}
    return Peak(**{name: max(values) if values else None for name, values in known.items()})
