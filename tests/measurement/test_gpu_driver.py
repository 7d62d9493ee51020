"""GPUs as the driver lists them, and peaks of GPU memory, with a stub of the driver's replies."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pynvml
import pytest
import torch

from harness.measurement import gpu_driver
from harness.measurement.gpu_driver import Driver, Usage, visible_gpus
from harness.measurement.machine import describe_device, device_kind, native_bfloat16
from harness.measurement.memory_probes import Cuda
from harness.measurement.meter import Meter
from tests import nvml
from tests.factories import MIB
from tests.nvml import Card

TWO = (Card("GPU-aaaa-1"), Card("GPU-bbbb-2", name="NVIDIA L4", capability=(8, 9)))


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    gpu_driver._gpus.cache_clear()
    gpu_driver.before_this_process.cache_clear()


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["GPU-aaaa-1", "GPU-bbbb-2"]),
        ("1", ["GPU-bbbb-2"]),
        ("1,0", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        ("GPU-bb", ["GPU-bbbb-2"]),
        ("0,-1,1", ["GPU-aaaa-1"]),
        ("", []),
        ("7", []),
    ],
)
def test_cuda_visible_devices_chooses_and_orders(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    nvml.install(monkeypatch, *TWO)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.uuid for gpu in visible_gpus()] == expected


def test_the_device_of_a_run_is_the_first_visible_one(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.install(monkeypatch, *TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bbbb-2")
    assert describe_device() == ("NVIDIA L4", nvml.TOTAL - nvml.RESERVE)
    assert device_kind() == "NVIDIA L4"


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.install(monkeypatch)
    assert visible_gpus() == ()
    assert device_kind() == "cpu"
    assert (Driver().used(), Driver().usage(), Driver().slowed()) == (0, Usage(0, frozenset()), set())


def test_a_cpu_build_of_torch_uses_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.install(monkeypatch, *TWO)
    monkeypatch.setattr(gpu_driver, "_cpu_build", lambda: True)
    assert visible_gpus() == ()


@pytest.mark.parametrize(
    ("capability", "native"), [((7, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True), (None, False)]
)
def test_emulated_bfloat16_is_not_taken_for_native(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None, native: bool
) -> None:
    nvml.install(monkeypatch, Card("GPU-1", capability=capability))
    assert native_bfloat16() is native


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Torch's counters of a GPU, to set."""
    values = {"max_memory_allocated": 0, "max_memory_reserved": 0, "memory_reserved": 0}
    for name in values:
        monkeypatch.setattr(torch.cuda, name, lambda name=name: values[name])
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    return values


def test_the_driver_is_read_at_the_end_of_a_phase(monkeypatch: pytest.MonkeyPatch, counters: dict[str, int]) -> None:
    card = Card("GPU-1", used=100 * MIB)
    nvml.install(monkeypatch, card)
    meter = Meter(Cuda())
    with meter.phase("train"):
        card.used, card.processes = 1600 * MIB, {os.getpid(): 1500 * MIB}
        counters |= {"max_memory_allocated": 900 * MIB, "max_memory_reserved": 1200 * MIB}
        counters["memory_reserved"] = 1000 * MIB  # torch gave 200 MiB back when memory ran out
    peak = meter.peaks["train"]
    assert (peak.allocated, peak.reserved) == (900 * MIB, 1200 * MIB)
    assert (peak.device, peak.process) == (1700 * MIB, 1700 * MIB)
    assert meter.headline("train") == 1700 * MIB
    assert meter.memory().reading == "process"
    assert meter.contaminated() == {}


@pytest.mark.parametrize(("used", "reading", "expected"), [(900, "device", 900), (0, "reserved", 700)])
def test_a_driver_that_does_not_list_the_process(
    monkeypatch: pytest.MonkeyPatch, counters: dict[str, int], used: int, reading: str, expected: int
) -> None:
    card = Card("GPU-1")
    nvml.install(monkeypatch, card)
    meter = Meter(Cuda())
    with meter.phase("infer"):
        card.used = used * MIB
        counters |= {"max_memory_reserved": 700 * MIB, "memory_reserved": 700 * MIB}
    assert meter.memory().reading == reading
    assert meter.headline("infer") == expected * MIB


def test_a_phase_starts_with_an_emptied_allocator(monkeypatch: pytest.MonkeyPatch, counters: dict[str, int]) -> None:
    """Otherwise its peak of reserved memory would begin at what the phase before has left."""
    nvml.install(monkeypatch, Card("GPU-1"))
    calls: list[str] = []
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: calls.append(name))
    meter = Meter(Cuda())
    for phase in ("load", "train"):
        with meter.phase(phase):
            calls.append(phase)
    assert calls == [
        "empty_cache",
        "reset_peak_memory_stats",
        "load",
        "empty_cache",
        "reset_peak_memory_stats",
        "train",
    ]


OURS, NUMBERED_OUTSIDE, ANOTHER = os.getpid(), 4001, 4002


@pytest.mark.parametrize(
    ("before", "during", "shared"),
    [
        ([], [OURS], False),
        ([], [NUMBERED_OUTSIDE], False),
        ([], [], False),
        ([], [OURS, ANOTHER], True),
        ([ANOTHER], [OURS, ANOTHER], True),
        ([ANOTHER], [ANOTHER], True),
        ([], [NUMBERED_OUTSIDE, ANOTHER], True),
        ([ANOTHER], [NUMBERED_OUTSIDE, ANOTHER], True),
    ],
)
def test_another_process_on_the_gpu_is_noticed(
    monkeypatch: pytest.MonkeyPatch, counters: dict[str, int], before: list[int], during: list[int], shared: bool
) -> None:
    card = Card("GPU-1", processes=dict.fromkeys(before, MIB))
    nvml.install(monkeypatch, card)
    meter = Meter(Cuda())
    for phase in ("train", "infer"):
        with meter.phase(phase):
            card.processes = dict.fromkeys(during, MIB)
    remarks = meter.contaminated()
    assert remarks.get("latency") == (["another process used the GPU"] if shared else None)
    assert remarks.get("training") == remarks.get("latency")


def test_a_clock_slowed_in_training_does_not_contaminate_latency(
    monkeypatch: pytest.MonkeyPatch, counters: dict[str, int]
) -> None:
    card = Card("GPU-1")
    nvml.install(monkeypatch, card)
    meter = Meter(Cuda())
    with meter.phase("train"):
        card.reasons = pynvml.nvmlClocksEventReasonHwThermalSlowdown
    card.reasons = pynvml.nvmlClocksEventReasonSwPowerCap  # ordinary
    with meter.phase("infer"):
        pass
    assert meter.contaminated() == {"training": ["the GPU's clock was slowed down: heat"]}


def test_a_gpu_in_use_at_the_start_contaminates_memory_and_time(
    monkeypatch: pytest.MonkeyPatch, counters: dict[str, int]
) -> None:
    nvml.install(monkeypatch, Card("GPU-1", used=600 * MIB))
    remark = f"another process held {600 * MIB} bytes of the GPU at the start"
    assert Meter(Cuda()).contaminated() == {"memory": [remark], "latency": [remark]}


def test_other_work_on_the_cpus_does_not_contaminate_a_gpu_run(
    monkeypatch: pytest.MonkeyPatch, counters: dict[str, int]
) -> None:
    nvml.install(monkeypatch, Card("GPU-1"))

    def never() -> None:
        raise AssertionError("the CPUs' ticks were read")

    meter = Meter(Cuda(), cpu_counter=never)
    with meter.phase("train"):
        pass
    assert meter.contaminated() == {}
