"""A stub of NVML's replies: GPUs as the driver would list them, on a machine without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from harness.measurement import gpu_driver
from tests.factories import MIB

TOTAL, RESERVE = 81_559 * MIB, 600 * MIB


@dataclass
class Card:
    """One GPU and what its driver answers."""

    uuid: str
    name: str = "NVIDIA H100"
    capability: tuple[int, int] | None = (9, 0)
    used: int = 0
    processes: dict[int, int] = field(default_factory=dict)
    """Bytes by process id."""
    reasons: int = 0
    """Why the clock is lowered, as bits."""


def install(monkeypatch: pytest.MonkeyPatch, *cards: Card) -> None:
    """Let the harness see these GPUs; without any, there is no driver."""

    def by_uuid(uuid: str) -> Card:
        return next(card for card in cards if card.uuid == uuid)

    def capability(card: Card) -> tuple[int, int]:
        if card.capability is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return card.capability

    def initialise() -> None:
        if not cards:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    replies: dict[str, Any] = {
        "nvmlInit": initialise,
        "nvmlDeviceGetCount": lambda: len(cards),
        "nvmlDeviceGetHandleByIndex": lambda index: cards[index],
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetUUID": lambda card: card.uuid,
        "nvmlDeviceGetName": lambda card: card.name,
        "nvmlDeviceGetCudaComputeCapability": capability,
        "nvmlDeviceGetMemoryInfo": lambda card, version: SimpleNamespace(total=TOTAL, reserved=RESERVE, used=card.used),
        "nvmlDeviceGetComputeRunningProcesses": lambda card: [
            SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in card.processes.items()
        ],
        "nvmlDeviceGetCurrentClocksEventReasons": lambda card: card.reasons,
    }
    for name, reply in replies.items():
        monkeypatch.setattr(pynvml, name, reply)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu_driver, "_cpu_build", lambda: False)
    gpu_driver._gpus.cache_clear()
    gpu_driver.before_this_process.cache_clear()
