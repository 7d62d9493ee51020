"""How memory and time are measured; `memory_probes` reads the device, `cpu_allocator` sets up a CPU.

Memory is a peak by phase (load, train, infer: one request at a time; and, apart from the quoted figures, evaluate: the
batched evaluation). On a GPU: torch's allocated and reserved peaks, and beside them what the
driver says of the device and, where it knows, of this process; the driver's figure is the headline, since torch sees
neither the context nor paged optimizers. On a CPU: the process's peak resident memory less what was resident after the
imports; the kernel's high-water mark is reset at the start of each phase (`/proc/self/clear_refs`), so a peak is of its
phase. Every run is its own process, so a peak is this run's.

Time is a monotonic clock around work that the device has finished, split by what it was spent on: load, data, tuning,
training (optimisation steps alone), validation, save, inference, latency, retention, and the rest as other. A time
comes with its repeats' spread.

A figure is contaminated, and says so, where something else had the device: a GPU in use at the start or slowed down by
its driver, other processes on the CPU, memory swapped out, too few repeats.
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
"""Repeats from which a latency is reported without a remark; 20 are the default."""
PARTS = ("load", "data", "tuning", "training", "validation", "save", "inference", "latency", "retention")


def synchronise() -> None:
    """Wait until the device is idle."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def now() -> float:
    """Seconds, once the device is idle."""
    synchronise()
    return time.perf_counter()


class Meter:
    """Peak memory by phase, how the time was spent, and what contaminated either.

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
        self._neighbours = Neighbours(cpu_counter)

    def begin(self) -> None:
        """From here on what the process has is the run's; a GPU's free memory was read when the meter was made."""
        gc.collect()
        self._gauge.begin()

    def another(self) -> Meter:
        """A meter that has measured nothing yet, with the same memory taken off: for one trial of several."""
        return Meter(self._gauge, self._clock, self._cpu_counter)

    @property
    def kind(self) -> str:
        """cuda | rss."""
        return self._gauge.kind

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the peak memory of a block; a phase that is entered several times keeps its highest peak."""
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
        peak, kept = self._gauge.peak(), self.peaks.get(name, Peak())
        parts = {part.name: _most(getattr(kept, part.name), getattr(peak, part.name)) for part in fields(Peak)}
        self.peaks[name] = Peak(**parts)

    @contextmanager
    def spending(self, name: str) -> Iterator[None]:
        """Count the seconds of a block; blocks must not be nested."""
        began = self._clock()
        try:
            yield
        finally:
            self.spent[name] += self._clock() - began

    def headline(self, phase: str) -> Number | None:
        """A phase's peak as it is quoted: by the driver on a GPU, resident memory on a CPU; None of none entered."""
        if (peak := self.peaks.get(phase)) is None:
            return None
        return peak.process or peak.device or peak.reserved or peak.allocated

    def settle(self) -> None:
        """Return freed memory to the system, so that a phase does not start with leftovers of the last one."""
        gc.collect()
        self._gauge.release()

    def seconds(self, total: float) -> dict[str, float]:
        """What the run's seconds were spent on; the parts add up to `total`."""
        parts = {name: self.spent[name] for name in PARTS}
        return {**parts, "other": total - sum(parts.values())}

    def contaminated(self) -> dict[str, list[str]]:
        """What contaminated each figure (memory, training, latency); empty if nothing did."""
        device = self._gauge.remarks()
        crowded = {
            name: self._neighbours.remark(phase) for name, phase in (("training", "train"), ("latency", "infer"))
        }
        found = {
            "memory": device["memory"],
            "training": [*device["time"], *crowded["training"]] if "train" in self.peaks else [],
            "latency": [*device["time"], *crowded["latency"]],
        }
        return {name: remarks for name, remarks in found.items() if remarks}

    def memory(self) -> Memory:
        """The peaks so far."""
        load, train, evaluate, infer = (self.peaks.get(phase) for phase in ("load", "train", "evaluate", "infer"))
        return Memory(self.kind, self._gauge.baseline_bytes, load, train, evaluate, infer)


def _most(first: Number | None, second: Number | None) -> Number | None:
    known = [value for value in (first, second) if value is not None]
    return max(known) if known else None
