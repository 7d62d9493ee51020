"""NVIDIA GPUs as their driver sees them, through NVML. Imports no torch, so it can be asked before CUDA is initialised.

visible_gpus()[0].name          # "NVIDIA H200"
before_this_process()           # first thing in a run's process: what others use
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

NATIVE_BFLOAT16 = (8, 0)
"""The first compute capability with bfloat16 arithmetic (Ampere); torch emulates it on earlier GPUs, far slower."""
PCI_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""CUDA numbers GPUs by speed unless this is set; the driver, and so this module, numbers them by slot."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG instance."""

    uuid: str
    name: str
    memory_bytes: int
    """What processes can use: without the driver's reserve."""
    capability: tuple[int, int] | None = None

    @property
    def native_bfloat16(self) -> bool:
        return self.capability is not None and self.capability >= NATIVE_BFLOAT16


class Usage(NamedTuple):
    """Who uses a GPU at one moment."""

    used_bytes: int
    processes: frozenset[int]


def visible_gpus() -> tuple[Gpu, ...]:
    """The GPUs that this process may use, by CUDA_VISIBLE_DEVICES; empty with a CPU build of torch or no driver."""
    if _cpu_build():
        return ()
    return _gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))


def close() -> None:
    """End NVML in this process, so that one forked from it starts its own."""
    import pynvml

    _gpus.cache_clear()
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()


@functools.cache
def before_this_process() -> Usage:
    """What others use of the first GPU; the first call must come before this process initialises CUDA."""
    return Driver().usage()


class Driver:
    """Figures of the first visible GPU; zero or empty without a driver."""

    def __init__(self) -> None:
        import pynvml

        self._nvml = pynvml
        gpus = visible_gpus()
        self._handle = _asked(lambda nvml: nvml.nvmlDeviceGetHandleByUUID(gpus[0].uuid)) if gpus else None

    def used(self) -> int:
        """Bytes in use on the GPU by all processes, without the driver's reserve."""
        read = self._nvml.nvmlDeviceGetMemoryInfo
        return self._ask(lambda handle: int(read(handle, version=self._nvml.nvmlMemory_v2).used), 0)

    def used_by(self, process: int) -> int:
        """Bytes in use by a process; 0 if the driver does not list it (process ids may differ in a container)."""
        return next((int(p.usedGpuMemory or 0) for p in self._running() if p.pid == process), 0)

    def usage(self) -> Usage:
        return Usage(self.used(), frozenset(int(p.pid) for p in self._running()))

    def slowed(self) -> set[str]:
        """Why the clock is throttled: heat, hardware, power brake; the ordinary power limit does not count."""
        nvml = self._nvml
        reasons = self._ask(nvml.nvmlDeviceGetCurrentClocksEventReasons, 0)
        names = {
            "heat": nvml.nvmlClocksEventReasonSwThermalSlowdown | nvml.nvmlClocksEventReasonHwThermalSlowdown,
            "hardware": nvml.nvmlClocksEventReasonHwSlowdown,
            "power brake": nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
        }
        return {name for name, bits in names.items() if reasons & bits}

    def _running(self) -> list[Any]:
        return self._ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, [])

    def _ask(self, question: Callable[[Any], T], otherwise: T) -> T:
        if self._handle is None:
            return otherwise
        try:
            return question(self._handle)
        except self._nvml.NVMLError:
            return otherwise


@functools.cache
def _cpu_build() -> bool:
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False


@functools.cache
def _gpus(visible: str | None) -> tuple[Gpu, ...]:
    """The GPUs that a value of CUDA_VISIBLE_DEVICES names; as in CUDA, the first wrong name ends the list."""
    every = _asked(_every_gpu) or {}
    if visible is None:
        return tuple(every.values())
    chosen: list[Gpu] = []
    for name in (part.strip() for part in visible.split(",")):
        gpu = _named(name, every)
        if gpu is None or gpu in chosen:
            break
        chosen.append(gpu)
    return tuple(chosen)


def _named(name: str, every: dict[int, Gpu]) -> Gpu | None:
    if name.isdigit():
        return every.get(int(name))
    if name.startswith("MIG-"):
        return _asked(lambda nvml: _gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(name)))
    matches = [gpu for gpu in every.values() if name.startswith("GPU-") and gpu.uuid.startswith(name)]
    return matches[0] if len(matches) == 1 else None


def _every_gpu(nvml: Any) -> dict[int, Gpu]:
    return {i: _gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(nvml.nvmlDeviceGetCount())}


def _gpu(nvml: Any, handle: Any) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    try:
        capability = tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))
    except nvml.NVMLError:
        capability = None
    name, uuid = str(nvml.nvmlDeviceGetName(handle)), str(nvml.nvmlDeviceGetUUID(handle))
    return Gpu(uuid, name, int(memory.total - memory.reserved), capability)


def _asked(question: Callable[[Any], T]) -> T | None:
    """The driver's answer; None without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return question(pynvml)
    except pynvml.NVMLError:
        return None
