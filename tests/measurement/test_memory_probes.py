"""How much of the CPUs other processes had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.measurement import memory_probes
from harness.measurement.memory_probes import CpuTicks, Neighbours, cpu_ticks


def measure(*phases: tuple[str, CpuTicks]) -> Neighbours:
    """Phases one after the other, each with what the CPUs did in it."""

    def readings() -> Iterator[CpuTicks]:
        for _, spent in phases:
            yield CpuTicks(1000, 100, 5000)
            yield CpuTicks(1000 + spent.busy, 100 + spent.own, 5000 + spent.everything)

    left = readings()
    neighbours = Neighbours(lambda: next(left))
    for phase, _ in phases:
        neighbours.start()
        neighbours.stop(phase)
    return neighbours


@pytest.mark.parametrize(
    ("spent", "share", "remark"),
    [
        (CpuTicks(busy=100, own=100, everything=200), 0.0, []),
        (CpuTicks(busy=105, own=95, everything=200), 0.05, []),
        (CpuTicks(busy=106, own=94, everything=200), 0.06, ["other processes had 6% of the CPUs"]),
        (CpuTicks(busy=200, own=80, everything=200), 0.6, ["other processes had 60% of the CPUs"]),
        (CpuTicks(busy=90, own=100, everything=200), 0.0, []),
    ],
    ids=["own work alone", "little", "just too much", "crowded", "ticks that the system counts late"],
)
def test_other_processes_are_remarked_and_own_work_is_not(spent: CpuTicks, share: float, remark: list[str]) -> None:
    neighbours = measure(("infer", spent))
    assert neighbours.share("infer") == pytest.approx(share)
    assert neighbours.remark("infer") == remark


def test_a_phase_that_is_entered_again_counts_as_one() -> None:
    busy, idle = CpuTicks(80, 40, 100), CpuTicks(100, 100, 300)
    neighbours = measure(("train", busy), ("infer", busy), ("train", idle))
    assert neighbours.share("train") == pytest.approx(0.1)
    assert neighbours.share("infer") == pytest.approx(0.4)
    assert neighbours.share("load") == 0.0


def test_a_system_that_counts_no_ticks_remarks_nothing() -> None:
    neighbours = Neighbours(lambda: None)
    neighbours.start()
    neighbours.stop("infer")
    assert neighbours.remark("infer") == []


def test_ticks_are_of_the_cpus_that_this_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, process = tmp_path / "system", tmp_path / "process"
    system.write_text(
        "cpu  9 9 9 9 9 9 9 9 0 0\n"
        "cpu0 1 2 3 40 5 6 7 8 0 0\n"  # user, nice, system, idle, iowait, irq, softirq, steal
        "cpu1 900 0 0 0 0 0 0 0 0 0\n"
        "cpu2 10 0 0 100 0 0 0 0 0 0\n"
        "ctxt 1\n"
    )
    fields = ["R", *["0"] * 10, "30", "4", *["0"] * 5]
    process.write_text(f"7 (a name) with ) in it) {' '.join(fields)}\n")
    monkeypatch.setattr(memory_probes, "_SYSTEM", system)
    monkeypatch.setattr(memory_probes, "_PROCESS", process)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2})
    assert cpu_ticks() == CpuTicks(busy=27 + 10, own=34, everything=72 + 110)
    monkeypatch.setattr(memory_probes, "_SYSTEM", tmp_path / "none")
    assert cpu_ticks() is None


def test_this_process_is_counted_among_the_busy_ones() -> None:
    ticks = cpu_ticks()
    if ticks is None:
        pytest.skip("no /proc")
    assert ticks.own > 0
    assert ticks.busy <= ticks.everything
