"""Which requests are made, and which of them are timed."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.inference import latency as timing
from harness.settings import Measure

EXAMPLES: Any = ["a", "b", "c"]
Call = tuple[str, int | None, Any]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The requests in their order; the n-th takes n milliseconds."""
    made: list[Call] = []

    def request(respondent: Any, example: Any, fixed_tokens: int | None = None, prefix: Any = None) -> Any:
        made.append((example, fixed_tokens, prefix))
        return timing._Request(0.0, 1.0, float(len(made)), 1.0)

    monkeypatch.setattr(timing, "_timed", request)
    return made


def respondent(device: str, **measure: Any) -> Any:
    return SimpleNamespace(
        measure=Measure(**measure),
        model=SimpleNamespace(device=torch.device(device)),
        task=SimpleNamespace(kind="text"),
        context=SimpleNamespace(index=None),
        prompt=lambda example: SimpleNamespace(ids=[1, 2]),
    )


def test_on_a_gpu_the_timed_requests_are_made_once_before() -> None:
    assert timing.warm_ups(EXAMPLES, "cuda") == EXAMPLES
    assert timing.warm_ups(EXAMPLES, "cpu") == []


@pytest.mark.parametrize(
    ("device", "expected", "median"), [("cpu", "aabc", 3), ("cuda", "aabcabc", 6)], ids=["cpu", "cuda"]
)
def test_requests_of_a_latency(calls: list[Call], device: str, expected: str, median: float) -> None:
    asked = respondent(device, warmup_requests=1, latency_requests=3, fixed_tokens=None)
    timed = timing.latency(asked, EXAMPLES)
    assert "".join(example for example, _, _ in calls) == expected
    assert timed.requests.latency_ms is not None
    assert (timed.requests.latency_ms.n, timed.requests.latency_ms.p50) == (3, median)


@pytest.mark.parametrize(("device", "expected"), [("cpu", "ab"), ("cuda", "abab")], ids=["cpu", "cuda"])
def test_requests_of_one_length_and_after_a_prefix(
    calls: list[Call], device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, prefix = respondent(device, fixed_tokens=5, fixed_requests=2, cached_requests=2), SimpleNamespace(ids=[1])
    timing._fixed(asked, EXAMPLES)
    assert calls == [(example, 5, None) for example in expected]
    calls.clear()
    monkeypatch.setattr(timing, "prefix_of", lambda *_: prefix)
    cached = timing.prefix_cached(asked, EXAMPLES)
    assert calls == [(example, None, prefix) for example in expected]
    assert cached is not None and cached.latency_ms.n == 2
