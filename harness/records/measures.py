"""The figures of a record that a report shows; each is None if the run ended before measuring it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measurement.readings import Peak
from harness.records.record import Record, Score
from harness.stats import Estimate, Summary

UNTRAINED = "zero_shot"
"""The method without training, examples or passages: the reference for all others."""


def median(summary: Summary | None) -> float | None:
    return None if summary is None else summary.p50


def estimate(score: Score | None) -> Estimate | None:
    """A score's value with its interval; None without a value."""
    return None if score is None or score.value is None else Estimate(score.value, score.low, score.high)


def quality(record: Record) -> Estimate | None:
    """Quality on the test split; None for a run that is not ok, even if it measured a value."""
    return estimate(record.quality) if record.status == "ok" else None


def validation(record: Record) -> float | None:
    return record.validation.value if record.validation and record.status == "ok" else None


def metric(record: Record) -> str | None:
    metrics = [score.metric for score in (record.quality, record.validation) if score]
    return next((metric for metric in metrics if metric), None)


def items(record: Record) -> int | None:
    """Test items in the run: the scored ones and those that could not be run."""
    if record.quality is None or record.quality.n is None:
        return None
    return int(record.quality.n + record.quality.unscored)


def phase_memory(record: Record, phase: str) -> float | None:
    """The peak of a phase (load, train, infer): the driver's figure on a GPU, resident memory on a CPU."""
    peak: Peak | None = getattr(record.memory, phase, None)
    return peak.quoted(record.memory and record.memory.reading) or None if peak else None


def training_memory(record: Record) -> float | None:
    """Peak bytes while training; a run that reused trained weights has only the copied figure."""
    measured = phase_memory(record, "train")
    return measured if measured is not None else record.training and record.training.peak_memory_bytes


def inference_memory(record: Record) -> float | None:
    measured = phase_memory(record, "infer")
    return measured if measured is not None else record.inference and record.inference.peak_memory_bytes


def peak_memory(record: Record) -> float | None:
    """Peak bytes over the phases load, train and infer: what a machine needs for the whole run."""
    loaded = phase_memory(record, "load")
    return max((b for b in (loaded, training_memory(record), inference_memory(record)) if b is not None), default=None)


def latency(record: Record) -> float | None:
    """Median milliseconds of one request."""
    return median(record.inference and record.inference.latency_ms)


def merged_latency(record: Record) -> float | None:
    """Median milliseconds of one request with the adapter merged into the weights."""
    merged = record.inference and record.inference.merged
    return median(merged and merged.latency_ms)


def memory_kind(record: Record) -> str | None:
    """Which figure the quoted memory is: rss | process | device | reserved; cuda in records that do not say."""
    return record.memory and (record.memory.reading or record.memory.kind)


def labelled_rows(record: Record) -> int | None:
    """Labelled rows available for training or as demonstrations; None if the method uses none."""
    if record.training and record.training.examples is not None:
        return int(record.training.examples)
    rows = record.config.get("max_train_examples") if record.context == "few_shot" else None
    return None if rows is None else int(rows)


def data_hash(record: Record) -> str | None:
    return record.environment.data_sha256 or None


def hardware(record: Record) -> str | None:
    """The device, and on a CPU the matrix library if it is not torch's default."""
    device, matmul = record.environment.device, record.environment.matmul
    return f"{device}, products by {matmul}" if device and matmul not in (None, "torch") else device


def device_kind(record: Record) -> str | None:
    """The GPU's name, since results differ between GPUs, or cpu; None if the run ended before recording it."""
    kind, device = record.memory and record.memory.kind, record.environment.device or ""
    if kind is None and not device:
        return None
    # A GPU's name need not contain "cuda" ("NVIDIA H200"), so the kind of memory reading is more reliable.
    on_a_gpu = kind == "cuda" or "cuda" in device.lower() or "nvidia" in device.lower()
    return (device or "cuda") if on_a_gpu else "cpu"


def precision(config: Mapping[str, Any]) -> str | None:
    """`float32`, `bfloat16`, `4-bit nf4, bfloat16` or `float32, bfloat16 autocast`, from a record's configuration."""
    dtype = (config.get("model") or {}).get("dtype")
    if dtype is None:
        return None
    if dtype == "float32" and (config.get("training") or {}).get("bf16"):
        dtype = "float32, bfloat16 autocast"
    quantization = (config.get("adaptation") or {}).get("quantization") or {}
    if quantization.get("load_in_4bit"):
        return f"4-bit {quantization.get('bnb_4bit_quant_type', 'fp4')}, {dtype}"
    return f"8-bit, {dtype}" if quantization.get("load_in_8bit") else str(dtype)


def tries(record: Record) -> int:
    """Number of learning rates tried on validation; 0 if not recorded."""
    return len(record.training.tried) if record.training and record.training.tried else 0


def dequantised(record: Record) -> bool:
    """Whether the base model's weights were dequantised from a quantised file."""
    return (record.config.get("model") or {}).get("source") == "gguf_package"


def contaminated(record: Record) -> dict[str, list[str]]:
    """By figure (memory, training, latency), what contaminated its measurement."""
    remarks = {name: list(values) for name, values in record.contaminated.items()}
    if record.memory and record.memory.contaminated:  # older records lack the field `contaminated`
        remarks.setdefault("memory", []).append(record.memory.contaminated)
    return remarks
