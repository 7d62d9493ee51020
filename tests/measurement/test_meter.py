"""Peaks belong to their phase, seconds to what they were spent on; what disturbs a figure is reported."""

from collections.abc import Callable

import pytest
import torch

from harness.measurement.memory_probes import CpuTicks
from harness.measurement.meter import Meter
from tests.clock import Clock
from tests.factories import MIB

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
    load, train, infer = (meter.peaks[name].allocated / MIB for name in ("load", "train", "infer"))
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
    assert meter.peaks["train"].allocated > 90 * MIB


def test_seconds_add_up_and_name_what_they_were_spent_on() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    for seconds in (2.0, 3.0):
        with meter.spending("data"):
            clock.advance(seconds)
        clock.advance(10.0)
    spent = meter.seconds(clock())
    assert (spent["data"], spent["other"]) == (5.0, 20.0)
    assert sum(spent.values()) == 25.0


def test_a_meter_for_another_trial_reads_the_same_clock_and_counter() -> None:
    clock = Clock()
    meter = Meter(clock=clock, cpu_counter=counter(CpuTicks(0, 0, 0), CpuTicks(50, 10, 100))).another()
    with meter.spending("data"), meter.phase("train"):
        clock.advance(7.0)
    assert meter.spent["data"] == 7.0
    assert meter.contaminated() == {"training": ["other processes had 40% of the CPUs"]}


def counter(*readings: CpuTicks) -> Callable[[], CpuTicks]:
    """A counter that gives these readings one after the other."""
    left = iter(readings)
    return lambda: next(left)


@pytest.mark.parametrize(
    ("phase", "figure"), [("train", "training"), ("infer", "latency"), ("load", None), ("evaluate", None)]
)
def test_other_processes_are_remarked_of_what_is_timed(phase: str, figure: str | None) -> None:
    meter = Meter(cpu_counter=counter(CpuTicks(0, 0, 0), CpuTicks(90, 30, 100)))
    with meter.phase(phase):
        pass
    assert meter.contaminated() == ({figure: ["other processes had 60% of the CPUs"]} if figure else {})
