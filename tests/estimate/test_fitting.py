"""The largest batch that fits, or the cheapest change that makes one fit."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from harness.estimate import fitting, prediction
from harness.estimate.traced_step import with_settings
from harness.settings import Settings
from tests.tiny_model import tiny_settings


def test_fitting_finds_a_batch_or_the_cheapest_change_or_says_that_nothing_fits() -> None:
    request = prediction.Request(tokens=64, device="cuda")
    lora = tiny_settings("method=lora")
    one = prediction.estimate(with_settings(lora, batch_size=1), request, thorough=False).peak_memory_bytes
    roomy = fitting.fit(lora, request, 2 * one)
    assert roomy.fits and roomy.estimate.batch > 1 and roomy.estimate.peak_memory_bytes <= 2 * one
    tight = fitting.fit(lora, request, one - 2**10)
    assert tight.fits and "gradient_checkpointing=true" in tight.what
    assert not fitting.fit(lora, request, 2**20).fits


CURVES: dict[str, Callable[[int], int]] = {
    "a line": lambda batch: 100 + 7 * batch,
    "flat": lambda batch: 100,
    "steps": lambda batch: 100 + 50 * (batch // 16),
    "a jump": lambda batch: 100 + batch + 10_000 * (batch > 5),
    "ever steeper": lambda batch: 100 + batch**2,
    "ever flatter": lambda batch: 100 + int(1000 * batch**0.5),
}


@pytest.mark.parametrize("room", [0, 43, 300, 5_000, 20_000])
@pytest.mark.parametrize("curve", CURVES)
def test_the_largest_batch_fits_and_an_eighth_more_does_not(curve: str, room: int) -> None:
    need, tried = CURVES[curve], []
    limit = need(1) + room

    def needed(candidate: Settings) -> Any:
        tried.append(candidate.training.batch_size)
        return SimpleNamespace(needed=need(tried[-1]))

    least: Any = SimpleNamespace(needed=need(1))
    batch, found = fitting._largest_batch(tiny_settings("method=lora"), least, limit, needed)
    assert found.needed == need(batch) <= limit
    assert batch == 1024 or need(batch + max(1, batch // 8)) > limit
    assert len(tried) == len(set(tried)) and len(tried) <= (4 if curve == "a line" else 18)
