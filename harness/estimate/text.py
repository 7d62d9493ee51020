"""An estimate as text, as a table and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from harness.estimate.prediction import Estimate
from harness.progress import spoken
from harness.quantities import GPUS, MIB


def as_data(found: Estimate) -> dict[str, object]:
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
