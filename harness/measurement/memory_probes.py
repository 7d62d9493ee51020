"""Readings for `meter`: resident memory, the GPU driver's figures, and the CPU time of other processes."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from harness.measurement.cpu_allocator import give_back
from harness.measurement.machine import first_gpu
from harness.measurement.readings import Peak

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_SYSTEM = Path("/proc/stat")
_PROCESS = Path("/proc/self/stat")
_RESET_PEAK = "5"
_IN_USE_BYTES = 512 * 2**20
_SWAPPED_BYTES = 16 * 2**20
_SAMPLE_SECONDS = 0.02
_CROWDED = 0.05
"""Share of CPU time that other processes may use before a figure counts as contaminated."""


class Resident:
    """Peak resident memory of this process on Linux; elsewhere the resident memory at the end of a phase."""

    kind = "rss"
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
        if _CLEAR.exists():
            _CLEAR.write_text(_RESET_PEAK)

    def peak(self) -> Peak:
        self._swapped = max(self._swapped, _status("VmSwap"))
        return Peak(allocated=max(0, _status("VmHWM") - self.baseline_bytes))

    def release(self) -> None:
        give_back()

    def remarks(self) -> dict[str, list[str]]:
        """Reasons why memory and time are contaminated."""
        swapped = [f"{self._swapped} bytes of this process were swapped out"] if self._swapped > _SWAPPED_BYTES else []
        return {"memory": swapped, "time": swapped}


class Cuda:
    """Memory of a GPU: torch's counters, and the driver's figures sampled during a phase."""

    kind = "cuda"
    baseline_bytes: int | None = None

    def __init__(self) -> None:
        self._driver = Driver()
        self._used_at_start = self._driver.used()
        self._device_peak = self._process_peak = 0
        self._slowed: set[str] = set()
        self._stop: threading.Event | None = None

    def reset(self) -> None:
        torch.cuda.reset_peak_memory_stats()
        self._device_peak = self._process_peak = 0
        self._stop = threading.Event()
        threading.Thread(target=self._sample, args=(self._stop,), daemon=True).start()

    def _sample(self, stop: threading.Event) -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            self._read_driver()

    def _read_driver(self) -> None:
        self._device_peak = max(self._device_peak, self._driver.used())
        self._process_peak = max(self._process_peak, self._driver.used_by(os.getpid()))
        self._slowed |= self._driver.slowed()

    def peak(self) -> Peak:
        if self._stop is not None:
            self._stop.set()
        self._read_driver()
        return Peak(
            allocated=torch.cuda.max_memory_allocated(),
            reserved=torch.cuda.max_memory_reserved(),
            device=max(0, self._device_peak - self._used_at_start) if self._device_peak else None,
            process=self._process_peak or None,
        )

    def begin(self) -> None:
        """Free cached memory; the baseline was read at construction, before this process used the GPU."""
        torch.cuda.empty_cache()

    def release(self) -> None:
        torch.cuda.empty_cache()

    def remarks(self) -> dict[str, list[str]]:
        """Reasons why memory and time are contaminated."""
        busy = self._used_at_start > _IN_USE_BYTES
        used = [f"{self._used_at_start} bytes of the GPU were in use at the start"] if busy else []
        slowed = [f"the GPU's clock was slowed down: {', '.join(sorted(self._slowed))}"] if self._slowed else []
        return {"memory": used, "time": [*used, *slowed]}


class Driver:
    """Figures of NVIDIA's driver for the GPU in use; zero or empty without a driver."""

    def __init__(self) -> None:
        import pynvml

        self._nvml = pynvml
        self._handle = first_gpu()

    def used(self) -> int:
        """Bytes in use on the device by all processes, without the driver's reserved memory."""
        if not self._handle:
            return 0
        try:
            return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle, version=self._nvml.nvmlMemory_v2).used)
        except self._nvml.NVMLError:
            return 0

    def used_by(self, process: int) -> int:
        """Bytes in use by a process; 0 if the driver does not list it (process ids may differ in a container)."""
        if not self._handle:
            return 0
        try:
            running = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except self._nvml.NVMLError:
            return 0
        return next((int(p.usedGpuMemory or 0) for p in running if p.pid == process), 0)

    def slowed(self) -> set[str]:
        """Why the clock is throttled: heat, hardware, power brake; the ordinary power limit does not count."""
        if not self._handle:
            return set()
        try:
            reasons = self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)
        except self._nvml.NVMLError:
            return set()
        names = {
            "heat": self._nvml.nvmlClocksThrottleReasonSwThermalSlowdown
            | self._nvml.nvmlClocksThrottleReasonHwThermalSlowdown,
            "hardware": self._nvml.nvmlClocksThrottleReasonHwSlowdown,
            "power brake": self._nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
        }
        return {name for name, bits in names.items() if reasons & bits}


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
