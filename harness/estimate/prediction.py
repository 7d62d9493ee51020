"""Predict what a run will need: memory by part, time, and which GPUs it fits.

    found = estimate(settings, Request(tokens=512, device="cuda"))
    found.parts            # {"weights": 3762831360, ..., "device context": 536870912}: bytes at the peak, adding up
    found.fits             # {"24 GB": True, "40 GB": True, ...}

Everything comes from the configuration that `harness run` uses, through `traced_step`; nothing is looked up by a
model's name. What no tensor accounts for is added by a few constants below, each with where it was measured.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from harness.errors import UserError
from harness.estimate.traced_step import Footprint, answering, training_step
from harness.measurement.machine import describe_device, device_kind
from harness.quantities import GPUS, MIB
from harness.records import measures
from harness.records.reading import load_records
from harness.records.record import Estimated, Training
from harness.settings import Settings

CUDA_CONTEXT = 512 * MIB  # driver's context and kernels, H100 class; not measured by this project
CUDA_OVERHEAD = 0.06  # of what a step makes and frees: the caching allocator's rounding; not measured by this project
# Both from benchmarks/estimate_vs_measured.py, its LoRA rows:
CPU_LIBRARIES = 150 * MIB  # pages of libraries and trainer that a first step touches
CPU_OVERHEAD = 0.04  # of what a step makes and frees: the heap's holes and the kernels' own buffers
PASSING = ("activations", "logits", "gradients", "temporaries of the optimizer")


@dataclass(frozen=True)
class Request:
    """What to predict for, besides the configuration."""

    tokens: int = 512
    """Of a training row, and of a prompt."""
    answer_tokens: int = 64
    device: str | None = None
    """cuda | cpu; None: a GPU for a shape, else this machine's kind."""


@dataclass(frozen=True)
class Estimate:
    """The prediction for one cell."""

    model: str
    method: str
    device: str
    batch: int
    rows_per_step: int
    """With gradient accumulation more than a batch."""
    tokens: int
    precision: str
    gradient_checkpointing: bool | None
    peak_memory_bytes: int
    """Of training if something is trained, else of answering one request at a time."""
    parts: dict[str, int]
    phases: dict[str, int]
    """Peaks of train and infer."""
    other_checkpointing_bytes: int | None
    """The training peak with gradient checkpointing switched the other way."""
    trainable_parameters: int
    total_parameters: int
    fits: dict[str, bool]
    """Training and answering, which a run does one after the other."""
    step_flops: float | None
    seconds_per_step: float | None
    """From the throughput of earlier runs on this device; None if there are none."""
    throughput: str

    @property
    def needed(self) -> int:
        """Bytes for the whole run, answering included."""
        return max(self.phases.values())


def estimate(settings: Settings, request: Request, *, thorough: bool = True) -> Estimate:
    """Predict what a run with these settings needs; `thorough` also tries checkpointing switched the other way."""
    device = request.device or _default_device(settings)
    batch = settings.training.batch_size if settings.training else 1
    answered = answering(settings, 1, request.tokens, request.answer_tokens)
    parts = with_overhead(answered, device)
    phases = {"infer": sum(parts.values())}
    train, other, flops, rows = None, None, None, batch
    if settings.training:
        learned = min(request.answer_tokens, request.tokens - 1)
        train = training_step(settings, batch, request.tokens, learned)
        parts = with_overhead(train, device)
        phases = {"train": sum(parts.values()), **phases}
        rows = batch * settings.training.gradient_accumulation_steps
        flops = train.matrices.training(rows * request.tokens, rows * learned, request.tokens, train.checkpointing)
        if thorough:
            flipped = training_step(settings, batch, request.tokens, learned, not train.checkpointing)
            if flipped.checkpointing != train.checkpointing:
                other = sum(with_overhead(flipped, device).values())
    peak = sum(parts.values())
    speed, throughput = _throughput(settings, device) if settings.trains else (None, "nothing is trained")
    return Estimate(
        model=settings.model.name,
        method=settings.label,
        device=device,
        batch=batch,
        rows_per_step=rows,
        tokens=request.tokens,
        precision=_precision(settings),
        gradient_checkpointing=train.checkpointing if train else None,
        peak_memory_bytes=peak,
        parts=parts,
        phases=phases,
        other_checkpointing_bytes=other,
        trainable_parameters=train.trainable_parameters if train else 0,
        total_parameters=(train or answered).total_parameters,
        fits={name: max(phases.values()) <= size * MIB for name, size in GPUS.items()},
        step_flops=flops,
        seconds_per_step=flops / speed if flops and speed else None,
        throughput=throughput,
    )


def with_overhead(footprint: Footprint, device: str) -> dict[str, int]:
    """The parts, with an allowance for memory that no tensor accounts for."""
    passing = sum(footprint.parts.get(name, 0) for name in PASSING)
    if device == "cuda":
        extra = {"device context": CUDA_CONTEXT, "overhead": round(CUDA_OVERHEAD * passing)}
    else:
        extra = {"overhead": CPU_LIBRARIES + round(CPU_OVERHEAD * passing)}
    return {**footprint.parts, **extra}


def _default_device(settings: Settings) -> str:
    return "cuda" if settings.model.is_shape or device_kind() != "cpu" else "cpu"


def _precision(settings: Settings) -> str:
    return measures.precision(settings.config) or ""


def _throughput(settings: Settings, device: str) -> tuple[float | None, str]:
    """Median FLOP/s of training in earlier runs on this very device with the same kind of adaptation."""
    if (device == "cuda") != (device_kind() != "cpu"):
        return None, f"no {device} on this machine to measure"
    name, (here, _) = settings.adaptation.name, describe_device()
    try:
        earlier = [stored.record for stored in load_records(str(settings.results))]
    except UserError:  # no results yet
        earlier = []
    alike = [r for r in earlier if r.status == "ok" and r.adaptation == name and r.environment.device == here]
    speeds = [t.flops / t.seconds for r in alike if (t := r.training) and t.flops and t.seconds]
    if not speeds:
        return None, f"no earlier {name} run on this device in {settings.results} to go by"
    return statistics.median(speeds), f"median of {len(speeds)} earlier {name} runs on this device"


def of_run(settings: Settings, training: Training) -> Estimated | None:
    """The predicted training peak for the longest rows, which a record keeps beside the measured one.

    None for what the estimate does not know: a finished training is worth more.
    """
    device = "cpu" if device_kind() == "cpu" else "cuda"
    longest, learned, again = training.longest_row, training.longest_answer, training.gradient_checkpointing
    if settings.training is None or longest is None or learned is None:
        return None
    batch = settings.training.batch_size
    try:
        step = training_step(settings, batch, int(longest), int(learned), again)
    except Exception as cause:  # whatever a new tuner does on tensors without data
        print(f"no estimate: {type(cause).__name__}: {cause}", flush=True)
        return None
    parts = with_overhead(step, device)
    return Estimated(sum(parts.values()), dict(parts), longest)
