"""An estimate as text, as a table and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from harness.estimate.prediction import Estimate
from harness.progress import spoken
from harness.quantities import GPUS, MIB


def as_data(predicted: Estimate) -> dict[str, object]:
    return asdict(predicted)


def as_text(predicted: Estimate) -> str:
    """What a person reads of one cell."""
    lines = [
        f"{predicted.method} on {predicted.model}, {predicted.device}, batch {predicted.batch}, "
        f"{predicted.tokens} tokens, {predicted.precision}"
        + (", gradient checkpointing" if predicted.gradient_checkpointing else "")
        + ": predicted, nothing was run"
    ]
    if predicted.trainable_parameters:
        lines.append(f"  trains {predicted.trainable_parameters:,} of {predicted.total_parameters:,} parameters")
    lines += [f"  {name:28} {size / 2**30:8.2f} GiB" for name, size in predicted.parts.items() if size >= MIB // 2]
    lines.append(f"  {'peak':28} {predicted.peak_memory_bytes / 2**30:8.2f} GiB")
    if predicted.other_checkpointing_bytes is not None:
        how = "without" if predicted.gradient_checkpointing else "with"
        lines.append(f"  {how + ' checkpointing':28} {predicted.other_checkpointing_bytes / 2**30:8.2f} GiB")
    if "train" in predicted.phases:
        lines.append(f"  {'to answer one request':28} {predicted.phases['infer'] / 2**30:8.2f} GiB")
    lines.append("  fits        " + ", ".join(f"{name} {'yes' if ok else 'no'}" for name, ok in predicted.fits.items()))
    if predicted.step_flops is not None:
        each = predicted.seconds_per_step
        timed = (
            f"{each:.2g} s a step, {spoken(1000 * each / predicted.rows_per_step)} for 1,000 rows"
            if each
            else "no time"
        )
        lines.append(f"  time        {timed} ({predicted.throughput}; {predicted.step_flops / 1e12:.3g} TFLOP a step)")
    return "\n".join(lines)


def as_table(cells: Sequence[Estimate]) -> str:
    """A line a cell."""
    head = f"{'method':22} {'precision':26} {'batch':>5} {'tokens':>6} {'peak GiB':>9}  fits"
    return "\n".join([head, *(_line(one) for one in cells), "predicted, nothing was run"])


def _line(predicted: Estimate) -> str:
    least = next((name for name, ok in predicted.fits.items() if ok), "none of " + ", ".join(GPUS))
    return (
        f"{predicted.method:22} {predicted.precision:26} {predicted.batch:5} {predicted.tokens:6} "
        f"{predicted.peak_memory_bytes / 2**30:9.2f}  {least}"
    )
