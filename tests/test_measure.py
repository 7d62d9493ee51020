"""Peaks belong to their phase."""

import pytest
import torch

from harness.measure import Meter, summary

MIB = 2**20
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="resident memory is the CPU's measure")


def test_a_peak_is_seen_and_belongs_to_its_phase() -> None:
    meter = Meter()
    with meter.phase("load"):
        held = torch.ones(64 * MIB // 4)
    with meter.phase("train"):
        more = torch.ones(200 * MIB // 4)
        del more
    meter.settle()
    with meter.phase("infer"):
        pass
    load, train, infer = (meter.peaks[name]["allocated"] / MIB for name in ("load", "train", "infer"))
    assert held.sum() > 0
    assert 60 <= load <= 110
    assert 255 <= train <= 330
    assert infer <= 110


def test_a_phase_entered_twice_keeps_its_highest_peak() -> None:
    meter = Meter()
    for size in (100, 1):
        with meter.phase("train"):
            torch.ones(size * MIB // 4)
        meter.settle()
    assert meter.peaks["train"]["allocated"] > 90 * MIB


def test_percentiles_of_latency() -> None:
    found = summary([float(i) for i in range(1, 101)])
    assert found == {"p50": 50.5, "p95": pytest.approx(95.05), "mean": 50.5, "n": 100}
    assert summary([]) is None
