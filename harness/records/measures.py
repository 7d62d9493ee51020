"""The numbers of a record that a report shows, each None where the run did not get that far.

A record of a failed run may lack any part, and a part may lack any field, so every number is read through
`number`.

>>> number({"latency_ms": {"p50": 41.5}}, "latency_ms", "p50")
41.5
"""

from __future__ import annotations

import math
from typing import Any

from harness.records.record import Record
from harness.stats import Estimate

PHASES = ("load", "train", "infer")
UNTRAINED = "zero_shot"
"""The method that leaves the model and its prompt alone, which the others are measured from."""


def at(part: Any, *path: str) -> Any:
    """What lies at a path of nested dicts; None where any step is missing."""
    for name in path:
        part = part.get(name) if isinstance(part, dict) else None
    return part


def number(part: Any, *path: str) -> float | None:
    """A finite number at that path, else None: NaN is what a diverged run writes, not a value."""
    found = at(part, *path)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return found


def estimate(part: Any) -> Estimate | None:
    """A value with its interval from a part of a record; None if it has no value."""
    value = number(part, "value")
    return None if value is None else Estimate(value, number(part, "low"), number(part, "high"))


def quality(record: Record) -> Estimate | None:
    """Quality on the test split; None for a run that is not ok, whatever it had measured before it ended."""
    return estimate(record.quality) if record.status == "ok" else None


def validation(record: Record) -> float | None:
    return number(record.validation, "value") if record.status == "ok" else None


def metric(record: Record) -> str | None:
    return at(record.quality, "metric") or at(record.validation, "metric")


def items(record: Record) -> int | None:
    """Test items that were asked: those scored and those that could not be run."""
    n = number(record.quality, "n")
    return None if n is None else int(n + (number(record.quality, "unscored") or 0))


def phase_memory(record: Record, phase: str) -> float | None:
    """A phase's peak as it is quoted: by the driver on a GPU, resident memory on a CPU."""
    readings = [number(record.memory, phase, name) for name in ("process", "device", "allocated")]
    return next((reading for reading in readings if reading), None)


def training_memory(record: Record) -> float | None:
    """Peak bytes while training; a run that reused trained weights has only the copied figure."""
    own = phase_memory(record, "train")
    return own if own is not None else number(record.training, "peak_memory_bytes")


def inference_memory(record: Record) -> float | None:
    own = phase_memory(record, "infer")
    return own if own is not None else number(record.inference, "peak_memory_bytes")


def peak_memory(record: Record) -> float | None:
    """The highest of the phases load, train and infer, in bytes: what a machine must have to do it all."""
    phases = [phase_memory(record, phase) for phase in PHASES]
    known = [b for b in (*phases, training_memory(record), inference_memory(record)) if b is not None]
    return max(known, default=None)


def latency(record: Record) -> float | None:
    """Median milliseconds of one request."""
    return number(record.inference, "latency_ms", "p50")


def merged_latency(record: Record) -> float | None:
    """The same with the adapter merged into the weights."""
    return number(record.inference, "merged", "latency_ms", "p50")


def memory_kind(record: Record) -> str | None:
    kind = at(record.memory, "kind")
    return str(kind) if kind else None


def labelled_rows(record: Record) -> int | None:
    """Labelled rows that a method had to train on or to show; None where it uses none."""
    trained = number(record.training, "examples")
    if trained is not None:
        return int(trained)
    shown = number(record.config, "max_train_examples") if record.context == "few_shot" else None
    return None if shown is None else int(shown)


def data_hash(record: Record) -> str | None:
    found = at(record.environment, "data_sha256")
    return str(found) if found else None


def hardware(record: Record) -> str | None:
    """The device, and on a CPU by what matrices are multiplied where it is not torch's own choice."""
    device, matmul = at(record.environment, "device"), at(record.environment, "matmul")
    return f"{device}, products by {matmul}" if device and matmul not in (None, "torch") else device


def device_kind(record: Record) -> str | None:
    """cuda or cpu; None where the run ended before it knew."""
    kind, device = memory_kind(record), str(at(record.environment, "device") or "")
    if kind is None and not device:
        return None
    # A GPU is named by its maker ("NVIDIA H200"), so the kind of memory that was read is the surer sign.
    return "cuda" if kind == "cuda" or "cuda" in device.lower() or "nvidia" in device.lower() else "cpu"


def tries(record: Record) -> int:
    """How many learning rates were tried on validation; 0 where that is not recorded."""
    tried = at(record.training, "tried")
    return len(tried) if isinstance(tried, dict) else 0


def contaminated(record: Record) -> dict[str, list[str]]:
    """By figure (memory, training, latency), what disturbed it while it was measured."""
    found = {name: [str(remark) for remark in remarks] for name, remarks in (record.contaminated or {}).items()}
    if remark := at(record.memory, "contaminated"):  # as records said it before they had a field for it
        found.setdefault("memory", []).append(str(remark))
    return found
