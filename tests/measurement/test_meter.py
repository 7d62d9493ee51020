"""Peaks belong to their phase, seconds to what they were spent on; what disturbs a figure is said."""

import subprocess
import sys
import time

import psutil
import pytest
import torch

from harness.adaptation import peft_model
from harness.adaptation.batches import Rows
from harness.adaptation.train import CompletionTrainer, train
from harness.measurement.memory_probes import Neighbours
from harness.measurement.meter import LEAST_REQUESTS, Meter
from harness.records.record import Training
from harness.run import contaminated
from harness.settings import Adaptation, Measure
from harness.stats import summary
from tests.tiny_model import LORA, SFT, TINY

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


def test_percentiles_of_latency() -> None:
    found = summary([float(i) for i in range(1, 101)])
    assert found and (found.p50, found.mean, found.n) == (50.5, 50.5, 100)
    assert (found.p95, found.p99, found.spread) == pytest.approx((95.05, 99.01, 49.5 / 50.5))
    assert summary([]) is None


SECONDS, BYTES = 1.5, 400 * MIB


def train_tiny(meter: Meter) -> Training:
    """A few steps of LoRA on the tiny model, validated after each epoch."""
    base = peft_model.attach(Adaptation(None, LORA, None, SFT), TINY)
    rows = Rows([[5, 6, 7, 8, 9, 10]] * 8, [[-100, -100, 7, 8, 9, 10]] * 8)
    return train(base, rows, rows, SFT, 1e-3, 0, meter, lambda done, total: None)


def test_a_slow_validation_or_slow_data_is_not_training_time(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, dataset = CompletionTrainer.evaluate, Rows.dataset
    monkeypatch.setattr(CompletionTrainer, "evaluate", lambda *a, **k: (time.sleep(SECONDS), evaluate(*a, **k))[1])
    monkeypatch.setattr(Rows, "dataset", lambda self: (time.sleep(SECONDS), dataset(self))[1])
    facts = train_tiny(Meter())
    assert facts.steps == 4
    assert facts.seconds < SECONDS
    assert facts.validation_seconds > 2 * SECONDS
    assert facts.save_seconds < SECONDS
    assert facts.step_ms.n == 4


def test_what_validation_allocates_is_not_trainings_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = CompletionTrainer.evaluate
    monkeypatch.setattr(CompletionTrainer, "evaluate", lambda *a, **k: (torch.ones(BYTES // 4), evaluate(*a, **k))[1])
    meter = Meter()
    train_tiny(meter)
    assert 0 < meter.peaks["train"].allocated < BYTES / 2


def test_seconds_add_up_and_name_what_they_were_spent_on() -> None:
    meter = Meter()
    with meter.spending("data"):
        time.sleep(0.05)
    with meter.spending("data"):
        time.sleep(0.05)
    found = meter.seconds(1.0)
    assert found["data"] == pytest.approx(0.1, abs=0.03)
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["other"] == pytest.approx(0.9, abs=0.03)


def test_other_processes_on_the_cpu_are_remarked_and_own_work_is_not() -> None:
    def work() -> Neighbours:
        neighbours, began = Neighbours(), time.monotonic()
        neighbours.start()
        while time.monotonic() - began < 1.0:
            sum(range(10_000))
        neighbours.stop("infer")
        return neighbours

    if psutil.cpu_percent(interval=0.3) > 30:
        pytest.skip("the machine is busy already")
    alone = work()
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        crowded = work()
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert alone.share("infer") < 0.15
    assert crowded.share("infer") > 0.25
    assert "of the CPUs" in crowded.remark("infer")[0]


def test_too_few_requests_are_remarked() -> None:
    few, enough = (Measure(latency_requests=n) for n in (LEAST_REQUESTS - 1, LEAST_REQUESTS))
    assert contaminated(Meter(), few)["latency"] == ["7 requests, fewer than 8"]
    assert "latency" not in contaminated(Meter(), enough)


_KEEPING = """
from harness.measurement import cpu_allocator
cpu_allocator.manage_memory()
import psutil, torch

def kept():
    before = psutil.Process().memory_info().rss
    tensors = [torch.ones(2**20) for _ in range(32)]  # of 4 MiB each
    del tensors
    return psutil.Process().memory_info().rss - before

kept()
before = psutil.Process().memory_info().rss
with cpu_allocator.keeping_freed():
    inside = kept()
resident = psutil.Process().memory_info().rss - before
print(inside // 2**20, resident // 2**20, kept() // 2**20)
"""


def test_freed_memory_is_kept_while_a_block_lasts_and_no_longer() -> None:
    done = subprocess.run([sys.executable, "-c", _KEEPING], capture_output=True, text=True, check=True)
    inside, resident, after = map(int, done.stdout.split())
    assert inside > 64
    assert resident < 16
    assert after < 16
