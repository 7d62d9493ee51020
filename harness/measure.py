"""How memory and time are measured.

Memory is a peak by phase (load, train, infer). On a GPU: torch's allocated and reserved peaks, and beside them the
device's own reading by the driver. On a CPU: the process's peak resident memory less what was resident after the
imports; the kernel's high-water mark is reset at the start of each phase (`/proc/self/clear_refs`), so a peak is of its
phase. Every run is its own process, so a peak is this run's.

Time is a monotonic clock around work that the device has finished.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_IN_USE_BYTES = 512 * 2**20
_SAMPLE_SECONDS = 0.02


def synchronise() -> None:
    """Wait until the device has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def now() -> float:
    """Seconds, once the device is idle."""
    synchronise()
    return time.perf_counter()


def summary(milliseconds: list[float]) -> dict[str, float] | None:
    """p50, p95, mean and the number of latencies; None without one."""
    if not milliseconds:
        return None
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return {
        "p50": float(p50),
        "p95": float(p95),
        "mean": float(np.mean(milliseconds)),
        "n": len(milliseconds),
    }


class Meter:
    """Peak memory by phase of this process.

    >>> meter = Meter()
    >>> with meter.phase("load"): ...
    >>> meter.peaks["load"]      # {"allocated": bytes, "reserved": bytes or None}
    """

    def __init__(self) -> None:
        self.peaks: dict[str, dict[str, int | None]] = {}
        self._gauge: _Resident | _Cuda = _Cuda() if torch.cuda.is_available() else _Resident()

    @property
    def kind(self) -> str:
        """cuda | rss."""
        return self._gauge.kind

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a block; a phase that is entered several times keeps its highest peak."""
        self.start()
        try:
            yield
        finally:
            self.stop(name)

    def start(self) -> None:
        self._gauge.reset()

    def stop(self, name: str) -> None:
        peak = self._gauge.peak()
        kept = self.peaks.get(name, {})
        self.peaks[name] = {part: _most(kept.get(part), value) for part, value in peak.items()}

    def settle(self) -> None:
        """Give freed memory back to the system, so that a phase does not inherit the garbage of the last."""
        gc.collect()
        self._gauge.release()

    def as_record(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.peaks, **self._gauge.remarks()}


def _most(first: int | None, second: int | None) -> int | None:
    known = [value for value in (first, second) if value is not None]
    return max(known) if known else None


class _Resident:
    """Resident memory of a process on Linux; elsewhere the current reading at the end of a phase."""

    kind = "rss"

    def __init__(self) -> None:
        _warm_up()
        self.release()
        self._baseline = _status("VmRSS")

    def reset(self) -> None:
        if _CLEAR.exists():
            _CLEAR.write_text(_RESET_PEAK)

    def peak(self) -> dict[str, int | None]:
        return {"allocated": max(0, _status("VmHWM") - self._baseline), "reserved": None}

    def release(self) -> None:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)

    def remarks(self) -> dict[str, Any]:
        return {"baseline_bytes": self._baseline}


class _Cuda:
    """A GPU: torch's counters, and the device's own reading sampled while a phase runs."""

    kind = "cuda"

    def __init__(self) -> None:
        self._device = _Driver()
        self._used_at_start = self._device.used()
        self._highest = 0
        self._stop: threading.Event | None = None

    def reset(self) -> None:
        torch.cuda.reset_peak_memory_stats()
        self._highest = 0
        self._stop = threading.Event()
        threading.Thread(target=self._sample, args=(self._stop,), daemon=True).start()

    def _sample(self, stop: threading.Event) -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            self._highest = max(self._highest, self._device.used())

    def peak(self) -> dict[str, int | None]:
        if self._stop is not None:
            self._stop.set()
        highest = max(self._highest, self._device.used())
        return {
            "allocated": torch.cuda.max_memory_allocated(),
            "reserved": torch.cuda.max_memory_reserved(),
            "device": max(0, highest - self._used_at_start) if highest else None,
        }

    def release(self) -> None:
        torch.cuda.empty_cache()

    def remarks(self) -> dict[str, Any]:
        in_use = self._used_at_start > _IN_USE_BYTES
        return {"contaminated": f"{self._used_at_start} bytes of the GPU were in use at the start"} if in_use else {}


class _Driver:
    """What NVIDIA's driver says of the first GPU; 0 where it cannot be asked."""

    def __init__(self) -> None:
        import pynvml

        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        except pynvml.NVMLError:
            self._handle = None

    def used(self) -> int:
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used) if self._handle else 0


def _warm_up() -> None:
    """Touch the libraries' code once: pages of a forked process count as resident only when they are touched."""
    weight = torch.ones(64, 64, requires_grad=True)
    torch.nn.functional.silu(weight @ weight).sum().backward()


def _status(name: str) -> int:
    """A figure of /proc/self/status in bytes; psutil's resident memory where there is no /proc."""
    if not _STATUS.exists():
        import psutil

        return int(psutil.Process().memory_info().rss)
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
