"""What a run reports of its figures."""

from __future__ import annotations

from harness.measurement.meter import LEAST_REQUESTS, Meter
from harness.run import contaminated
from harness.settings import Measure


def test_too_few_requests_are_remarked() -> None:
    few, enough = (Measure(latency_requests=n) for n in (LEAST_REQUESTS - 1, LEAST_REQUESTS))
    assert contaminated(Meter(), few)["latency"] == ["7 requests, fewer than 8"]
    assert "latency" not in contaminated(Meter(), enough)
