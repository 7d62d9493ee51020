"""Readings for `meter`: resident memory, the GPU driver's figures, and the CPU time of other processes."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from harness.measurement.cpu_allocator import give_back
from harness.measurement.gpu_driver import Driver, Usage, before_this_process
from harness.measurement.readings import Peak

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_SYSTEM = Path("/proc/stat")
_PROCESS = Path("/proc/self/stat")
_RESET_PEAK = "5"
_IN_USE_BYTES = 512 * 2**20
_SWAPPED_BYTES = 16 * 2**20
_CROWDED = 0.05
"""Share of CPU time that other processes may use before a figure counts as contaminated."""


class Resident:
    """Peak resident memory of this process on Linux; elsewhere the resident memory at the end of a phase."""

    kind = "rss"
    reading: str | None = None
    baseline_bytes: int

    def __init__(self) -> None:
        self._swapped = 0
        self.begin()

    def begin(self) -> None:
        """Set the baseline: only memory that becomes resident after this call counts."""
        _warm_up()
        give_back()
        self.baseline_bytes = _status("VmRSS")

    def reset(self) -> None:
        """Start a phase."""
        if _CLEAR.exists():
            _CLEAR.write_text(_RESET_PEAK)

    def peak(self, phase: str) -> Peak:
        """End a phase."""
        self._swapped = max(self._swapped, _status("VmSwap"))
        return Peak(allocated=max(0, _status("VmHWM") - self.baseline_bytes))

    def release(self) -> None:
        give_back()

    def memory_remarks(self) -> list[str]:
        """Reasons why memory is contaminated."""
        return [f"{self._swapped} bytes of this process were swapped out"] if self._swapped > _SWAPPED_BYTES else []

    def time_remarks(self, phase: str) -> list[str]:
        """Reasons why the time of a phase is contaminated."""
        return self.memory_remarks()


class Cuda:
    """Peak memory of a GPU: torch's counters, and the driver's figures at the end of a phase.

    No thread samples the driver, since it would compete with the kernel launches that are timed. Torch's allocator
    gives nothing back within a phase, so what the driver counts at its end is the peak, plus what torch gave back when
    memory ran out.
    """

    kind = "cuda"
    baseline_bytes: int | None = None

    def __init__(self, driver: Driver | None = None, before: Usage | None = None) -> None:
        self._driver = driver or Driver()
        self._before = before or before_this_process()
        self._slowed: defaultdict[str, set[str]] = defaultdict(set)
        self._shared: set[str] = set()
        self.reading: str | None = None

    def begin(self) -> None:
        """Free cached memory; the baseline was read before this process used the GPU."""
        torch.cuda.empty_cache()

    def release(self) -> None:
        torch.cuda.empty_cache()

    def reset(self) -> None:
        """Start a phase: give back what torch's allocator holds, which would count as the phase's."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def peak(self, phase: str) -> Peak:
        """End a phase."""
        reserved, usage = torch.cuda.max_memory_reserved(), self._driver.usage()
        given_back = reserved - torch.cuda.memory_reserved()
        process = self._driver.used_by(os.getpid())
        if self.reading is None:
            self.reading = "process" if process else "device" if usage.used_bytes else "reserved"
        self._slowed[phase] |= self._driver.slowed()
        if _others(usage, self._before, os.getpid()):
            self._shared.add(phase)
        return Peak(
            allocated=torch.cuda.max_memory_allocated(),
            reserved=reserved,
            device=max(0, usage.used_bytes - self._before.used_bytes) + given_back if usage.used_bytes else None,
            process=process + given_back if process else None,
        )

    def memory_remarks(self) -> list[str]:
        """Reasons why memory is contaminated."""
        return [
            *self._used_before(),
            *(["another process used the GPU"] if self._shared and self.reading != "process" else []),
        ]

    def time_remarks(self, phase: str) -> list[str]:
        """Reasons why the time of a phase is contaminated."""
        reasons = ", ".join(sorted(self._slowed[phase]))
        return [
            *self._used_before(),
            *(["another process used the GPU"] if phase in self._shared else []),
            *([f"the GPU's clock was slowed down: {reasons}"] if reasons else []),
        ]

    def _used_before(self) -> list[str]:
        """The only trace of another process where the driver lists none, as in many containers."""
        used = self._before.used_bytes
        return [f"another process held {used} bytes of the GPU at the start"] if used > _IN_USE_BYTES else []


def _others(now: Usage, before: Usage, own: int) -> bool:
    """Whether another process uses the GPU; in a container the one new process is this one, under another number."""
    others = now.processes - {own}
    return bool(others) and not (own not in now.processes and len(others - before.processes) == 1 == len(others))


class CpuTicks(NamedTuple):
    """Clock ticks of the CPUs that this process may use, since the machine was started."""

    busy: int
    """Of any process."""
    own: int
    """Of this process."""
    everything: int
    """Busy or idle."""


class Neighbours:
    """How much of the CPUs' time other processes had, by phase; the CPUs are those that this process may use.

    `counter` reads the CPUs' ticks; None if the system does not tell them.
    """

    def __init__(self, counter: Callable[[], CpuTicks | None]) -> None:
        self._counter = counter
        self._began: CpuTicks | None = None
        self._others: Counter[str] = Counter()
        self._all: Counter[str] = Counter()

    def start(self) -> None:
        self._began = self._counter()

    def stop(self, phase: str) -> None:
        ended = self._counter()
        if self._began is None or ended is None:
            return
        busy, this_process, total = (after - before for after, before in zip(ended, self._began, strict=True))
        self._others[phase] += busy - this_process
        self._all[phase] += total

    def share(self, phase: str) -> float:
        return max(0.0, self._others[phase] / self._all[phase]) if self._all[phase] else 0.0

    def remark(self, phase: str) -> list[str]:
        share = self.share(phase)
        return [f"other processes had {share:.0%} of the CPUs"] if share > _CROWDED else []


def cpu_ticks() -> CpuTicks | None:
    """The ticks so far, as /proc tells them; None if there is no /proc."""
    if not _SYSTEM.exists():
        return None
    usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    busy = total = 0
    for line in _SYSTEM.read_text().splitlines():
        name, *counts = line.split()
        if name in usable:
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, counts[:8])
            worked = user + nice + system + irq + softirq + steal
            busy, total = busy + worked, total + worked + idle + iowait
    fields = _PROCESS.read_text().rpartition(")")[2].split()
    return CpuTicks(busy, int(fields[11]) + int(fields[12]), total)


def _warm_up() -> None:
    """Run a little library code: pages of a forked process count as resident only once they are touched."""
    weight = torch.ones(64, 64, requires_grad=True)
    torch.nn.functional.silu(weight @ weight).sum().backward()


def _status(name: str) -> int:
    """A figure of /proc/self/status in bytes; psutil's resident memory without /proc."""
    if not _STATUS.exists():
        import psutil

        return int(psutil.Process().memory_info().rss) if name != "VmSwap" else 0
    line = next((line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:")), f"{name}: 0 kB")
    return int(line.split()[1]) * 1024
