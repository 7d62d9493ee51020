"""What a run will need, before it runs: memory by part, time, and which GPUs it fits.

    found = estimate(settings, Request(tokens=512, device="cuda"))
    found.parts            # {"weights": 3762831360, ..., "device context": 536870912}: bytes at the peak, adding up
    found.fits             # {"24 GB": True, "40 GB": True, ...}

Everything comes from the configuration that `harness run` uses, through `footprint`; nothing is looked up by a model's
name. What no tensor accounts for is added by a few constants below, each with where it was measured.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.environment import describe_device, device_kind
from harness.errors import UserError
from harness.footprint import Footprint, answering, training_step, with_settings
from harness.progress import spoken
from harness.records import load_records
from harness.settings import Settings

MIB = 2**20
GPUS = {"24 GB": 24564, "40 GB": 40536, "48 GB": 49140, "80 GB": 81559, "141 GB": 143771}
"""MiB that the driver reports of an RTX 4090, A100, RTX A6000, H100 and H200."""
CUDA_CONTEXT = 512 * MIB  # driver's context and kernels, H100 class; not measured by this project
CUDA_OVERHEAD = 0.06  # of what a step makes and frees: the caching allocator's rounding; not measured by this project
# Both from benchmarks/estimate_vs_measured.py, its LoRA rows:
CPU_LIBRARIES = 150 * MIB  # pages of libraries and trainer that a first step touches
CPU_OVERHEAD = 0.04  # of what a step makes and frees: the heap's holes and the kernels' own buffers
PASSING = ("activations", "logits", "gradients", "temporaries of the optimizer")


@dataclass(frozen=True)
class Request:
    """What is asked for besides the configuration."""

    tokens: int = 512
    # of a training row, and of a prompt
    answer_tokens: int = 64
    device: str | None = None
    # cuda | cpu; None: a GPU for a shape, else this machine's kind


@dataclass(frozen=True)
class Estimate:
    """What one cell needs; every figure is predicted."""

    model: str
    method: str
    device: str
    batch: int
    rows_per_step: int
    # with gradient accumulation more than a batch
    tokens: int
    precision: str
    gradient_checkpointing: bool | None
    peak_memory_bytes: int
    # of training where something is trained, else of answering one request at a time
    parts: dict[str, int]
    phases: dict[str, int]
    # peaks of train and infer
    other_checkpointing_bytes: int | None
    # the training peak with gradient checkpointing switched the other way
    trainable_parameters: int
    total_parameters: int
    fits: dict[str, bool]
    # training and answering, which a run does one after the other
    step_flops: float | None
    seconds_per_step: float | None
    # from the throughput of earlier runs on this device; None where there are none
    throughput: str

    @property
    def needed(self) -> int:
        """Bytes for the whole run, answering included."""
        return max(self.phases.values())


def estimate(settings: Settings, request: Request, *, thorough: bool = True) -> Estimate:
    """What a run of these settings needs; `thorough` also looks at the other state of checkpointing."""
    device = request.device or _default_device(settings)
    batch = int(settings.training["batch_size"]) if settings.trains else 1
    answered = answering(settings, 1, request.tokens, request.answer_tokens)
    parts = _with_overhead(answered, device)
    phases = {"infer": sum(parts.values())}
    train, other, flops, rows = None, None, None, batch
    if settings.trains:
        learned = min(request.answer_tokens, request.tokens - 1)
        train = training_step(settings, batch, request.tokens, learned, device=device)
        parts = _with_overhead(train, device)
        phases = {"train": sum(parts.values()), **phases}
        rows = batch * int(settings.training["gradient_accumulation_steps"])
        flops = train.matrices.training(rows * request.tokens, rows * learned, request.tokens, train.checkpointing)
        if thorough:
            flipped = training_step(settings, batch, request.tokens, learned, not train.checkpointing, device)
            if flipped.checkpointing != train.checkpointing:
                other = sum(_with_overhead(flipped, device).values())
    peak = sum(parts.values())
    speed, said = _throughput(settings, device) if settings.trains else (None, "nothing is trained")
    return Estimate(
        model=settings.model["name"],
        method=_label(settings),
        device=device,
        batch=batch,
        rows_per_step=rows,
        tokens=request.tokens,
        precision=_precision(settings, device),
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
        throughput=said,
    )


def _with_overhead(found: Footprint, device: str) -> dict[str, int]:
    """The parts, with what no tensor accounts for."""
    passing = sum(found.parts.get(name, 0) for name in PASSING)
    if device == "cuda":
        extra = {"device context": CUDA_CONTEXT, "overhead": round(CUDA_OVERHEAD * passing)}
    else:
        extra = {"overhead": CPU_LIBRARIES + round(CPU_OVERHEAD * passing)}
    return {**found.parts, **extra}


def _default_device(settings: Settings) -> str:
    shape = settings.model["source"] == "random" and settings.model["name"] != "tiny"
    return "cuda" if shape or device_kind() != "cpu" else "cpu"


def _label(settings: Settings) -> str:
    rank = settings.adaptation.rank
    return settings.method if rank is None else f"{settings.method} r{rank}"


def _precision(settings: Settings, device: str) -> str:
    from harness.training import mixes_precision

    mixed = settings.trains and mixes_precision(settings.training, device)
    return str(settings.model["dtype"]) + (", bf16 autocast" if mixed else "")


def _throughput(settings: Settings, device: str) -> tuple[float | None, str]:
    """Median FLOP/s of training in earlier runs on this very device with the same kind of adaptation."""
    if (device == "cuda") != (device_kind() != "cpu"):
        return None, f"no {device} on this machine to measure"
    name, (here, _) = settings.adaptation.name, describe_device()
    try:
        earlier = [stored.record for stored in load_records(settings.results)]
    except UserError:  # no results yet
        earlier = []
    alike = [r for r in earlier if r.status == "ok" and r.adaptation == name and r.environment.get("device") == here]
    trained = [r.training for r in alike if r.training and r.training.get("flops") and r.training.get("seconds")]
    if not trained:
        return None, f"no earlier {name} run on this device in {settings.results} to go by"
    speeds = [training["flops"] / training["seconds"] for training in trained]
    return statistics.median(speeds), f"median of {len(speeds)} earlier {name} runs on this device"


def bytes_of(text: str) -> int:
    """24GB as what a common GPU of that size has; else the number of GB (10^9) or GiB (2^30); UserError otherwise."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(GB|GiB|G)?\s*", text, re.IGNORECASE)
    if not match:
        raise UserError(f"--fit {text}: expected a size such as 24GB.")
    named = GPUS.get(f"{match[1]} GB")
    if named is not None and (match[2] or "GB").upper() != "GIB":
        return named * MIB
    return int(float(match[1]) * (2**30 if (match[2] or "").upper() == "GIB" else 10**9))


@dataclass(frozen=True)
class Fitted:
    """How a run is made to fit."""

    fits: bool
    what: str
    found: Estimate


def fit(settings: Settings, request: Request, limit: int, step: Callable[[str], None] = lambda _: None) -> Fitted:
    """The largest batch that fits; where not even one row does, the cheapest change that makes it fit."""

    def needed(candidate: Settings) -> Estimate:
        step(f"{_label(candidate)}, batch {candidate.training['batch_size']}")
        return estimate(candidate, request, thorough=False)

    if not settings.trains:
        raise UserError("--fit looks for a way to train; method=zero_shot and its like have none.")
    least = needed(with_settings(settings, batch_size=1))
    if least.needed <= limit:
        batch, found = _largest_batch(settings, least, limit, needed)
        beyond = f"{_step_above(batch)} more does not" if batch < _MOST_ROWS else "more was not tried"
        return Fitted(True, f"batch {batch} fits, {beyond}", found)
    for what, change in _changes(settings):
        found = needed(change)
        if found.needed <= limit:
            return Fitted(True, f"does not fit as it is; it does with {what}", found)
    return Fitted(False, "does not fit, not even with checkpointing and a 4-bit base", least)


_MOST_ROWS = 1024
_TRIES = 8  # batches after which memory does not grow as expected


def _step_above(batch: int) -> int:
    """How finely the largest batch is looked for."""
    return max(1, batch // 8)


def _largest_batch(
    settings: Settings, least: Estimate, limit: int, needed: Callable[[Settings], Estimate]
) -> tuple[int, Estimate]:
    """Where the line through two batches meets the limit, and again until one that fits and one that does not are near.

    Memory grows all but in proportion to the batch, so a handful are tried; where it does not, the interval is halved.
    """
    tried = {1: least}
    low, high = 1, _MOST_ROWS + 1
    while low < _MOST_ROWS and (high not in tried or high - low > _step_above(low)):
        batch = min(max(low + _step_above(low), _reaching(limit, tried, low)), high - 1)
        if len(tried) >= _TRIES:
            batch = (low + high) // 2
        tried[batch] = needed(with_settings(settings, batch_size=batch))
        if tried[batch].needed <= limit:
            low = batch
        else:
            high = batch
    return low, tried[low]


def _reaching(limit: int, tried: Mapping[int, Estimate], low: int) -> int:
    """Where the line through `low` and the batch tried above it, else the one below, meets the limit."""
    above, below = [batch for batch in tried if batch > low], [batch for batch in tried if batch < low]
    if not above and not below:
        return low + 1
    other = min(above) if above else max(below)
    slope = (tried[other].needed - tried[low].needed) / (other - low)
    return low + int((limit - tried[low].needed) / slope) if slope > 0 else _MOST_ROWS


_NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
_LORA = {"_target_": "peft.LoraConfig", "r": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def _changes(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """What costs least first: recomputation, rounding of the optimizer's state, fewer trained numbers, a 4-bit base."""
    leaner = with_settings(settings, batch_size=1, gradient_checkpointing=True)
    yield "training.batch_size=1 training.gradient_checkpointing=true", leaner
    eight = with_settings(leaner, optimizer="paged_adamw_8bit")
    yield "these and training.optimizer=paged_adamw_8bit", eight
    if settings.adaptation.peft is None:
        yield "checkpointing and method=lora rank=8", _adapted(leaner, "lora", peft=_LORA)
        yield "checkpointing and method=qlora rank=8", _adapted(leaner, "qlora", peft=_LORA, quantization=_NF4)
    elif not settings.adaptation.quantization:
        named = f"{settings.method}, 4-bit"
        yield "checkpointing and a 4-bit base, as method=qlora has it", _adapted(leaner, named, quantization=_NF4)


def _adapted(settings: Settings, method: str, **parts: Any) -> Settings:
    config = dict(settings.config)
    return Settings({**config, "method": method, "adaptation": {**config["adaptation"], **parts}})


def as_data(found: Estimate) -> dict[str, Any]:
    return asdict(found)


def as_text(found: Estimate) -> str:
    """What a person reads of one cell."""
    lines = [
        f"{found.method} on {found.model}, {found.device}, batch {found.batch}, {found.tokens} tokens, "
        + found.precision
        + (", gradient checkpointing" if found.gradient_checkpointing else "")
        + ": predicted, nothing was run"
    ]
    if found.trainable_parameters:
        lines.append(f"  trains {found.trainable_parameters:,} of {found.total_parameters:,} parameters")
    lines += [f"  {name:28} {size / 2**30:8.2f} GiB" for name, size in found.parts.items() if size >= MIB // 2]
    lines.append(f"  {'peak':28} {found.peak_memory_bytes / 2**30:8.2f} GiB")
    if found.other_checkpointing_bytes is not None:
        how = "without" if found.gradient_checkpointing else "with"
        lines.append(f"  {how + ' checkpointing':28} {found.other_checkpointing_bytes / 2**30:8.2f} GiB")
    if "train" in found.phases:
        lines.append(f"  {'to answer one request':28} {found.phases['infer'] / 2**30:8.2f} GiB")
    lines.append("  fits        " + ", ".join(f"{name} {'yes' if ok else 'no'}" for name, ok in found.fits.items()))
    if found.step_flops is not None:
        each = found.seconds_per_step
        timed = (
            f"{each:.2g} s a step, {spoken(1000 * each / found.rows_per_step)} for 1,000 rows" if each else "no time"
        )
        lines.append(f"  time        {timed} ({found.throughput}; {found.step_flops / 1e12:.3g} TFLOP a step)")
    return "\n".join(lines)


def as_table(found: Sequence[Estimate]) -> str:
    """A line a cell."""
    head = f"{'method':22} {'precision':24} {'batch':>5} {'tokens':>6} {'peak GiB':>9}  fits"
    return "\n".join([head, *(_line(one) for one in found), "predicted, nothing was run"])


def _line(found: Estimate) -> str:
    least = next((name for name, ok in found.fits.items() if ok), "none of " + ", ".join(GPUS))
    return (
        f"{found.method:22} {found.precision:24} {found.batch:5} {found.tokens:6} "
        f"{found.peak_memory_bytes / 2**30:9.2f}  {least}"
    )


def of_run(settings: Settings, longest_row: int, longest_answer: int, checkpointing: bool) -> Mapping[str, Any]:
    """What a record keeps to be held against what was measured: the training peak for its longest rows, predicted."""
    device = "cpu" if device_kind() == "cpu" else "cuda"
    batch = int(settings.training["batch_size"])
    found = training_step(settings, batch, longest_row, longest_answer, checkpointing, device)
    parts = _with_overhead(found, device)
    return {"train_peak_bytes": sum(parts.values()), "parts": parts, "tokens": longest_row}
