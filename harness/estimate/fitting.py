"""What fits into memory: the largest batch, otherwise the cheapest change that helps.

fit(settings, Request(), limit=24564 * MIB).what      # "batch 12 fits, 1 more does not"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UserError
from harness.estimate.prediction import Estimate, Request, estimate
from harness.estimate.traced_step import with_settings
from harness.settings import Settings


@dataclass(frozen=True)
class Fitted:
    """The answer to whether a run fits."""

    fits: bool
    what: str
    estimate: Estimate


def fit(settings: Settings, request: Request, limit: int, step: Callable[[str], None] = lambda _: None) -> Fitted:
    """The largest batch that fits; if not even one row fits, the cheapest change that makes it fit."""

    def needed(candidate: Settings) -> Estimate:
        step(f"{candidate.label}, batch {candidate.training.batch_size if candidate.training else 1}")
        return estimate(candidate, request, thorough=False)

    if not settings.trains:
        raise UserError("--fit looks for a way to train; method=zero_shot and its like have none.")
    least = needed(with_settings(settings, batch_size=1))
    if least.needed <= limit:
        batch, predicted = _largest_batch(settings, least, limit, needed)
        beyond = f"{_step_above(batch)} more does not" if batch < _MOST_ROWS else "more was not tried"
        return Fitted(True, f"batch {batch} fits, {beyond}", predicted)
    for what, change in _changes(settings):
        predicted = needed(change)
        if predicted.needed <= limit:
            return Fitted(True, f"does not fit as it is; it does with {what}", predicted)
    return Fitted(False, "does not fit, not even with checkpointing and a 4-bit base", least)


_MOST_ROWS = 1024
_TRIES = 8  # batches after which memory does not grow as expected


def _step_above(batch: int) -> int:
    """Step of the search for the largest batch."""
    return max(1, batch // 8)


def _largest_batch(
    settings: Settings, least: Estimate, limit: int, needed: Callable[[Settings], Estimate]
) -> tuple[int, Estimate]:
    """Try the batch where a line through two others meets the limit; repeat until one fits and a near one does not.

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
    """Changes that save memory, the cheapest first: checkpointing, an 8-bit optimizer, an adapter, a 4-bit base."""
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
