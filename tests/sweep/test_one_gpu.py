"""Each run holds one GPU and sees no other: two GPUs, simulated by a stub of the driver's replies."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.measurement import gpu_driver
from harness.sweep import start_run
from harness.sweep.compose import compositions
from harness.sweep.one_gpu import one_gpu
from tests import nvml
from tests.commands import HANGS
from tests.nvml import Card


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    gpu_driver._gpus.cache_clear()
    gpu_driver.before_this_process.cache_clear()


def test_runs_at_once_take_one_gpu_each_and_a_third_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.install(monkeypatch, Card("GPU-a"), Card("GPU-b"))
    said: list[str] = []
    third: list[str | None] = []

    def run() -> None:
        with one_gpu(said.append) as uuid:
            third.append(uuid)

    with one_gpu(said.append) as first:
        with one_gpu(said.append) as second:
            waiting = threading.Thread(target=run)
            waiting.start()
            deadline = time.monotonic() + HANGS
            while not said and time.monotonic() < deadline:
                time.sleep(0.01)
            assert third == []
        waiting.join(HANGS)
        assert third == [second]
    assert (first, second) == ("GPU-a", "GPU-b")
    assert said == ["waiting: all 2 GPUs are in use by other runs"]


def test_another_kind_of_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.install(monkeypatch, Card("GPU-a"), Card("GPU-b", name="NVIDIA T4"))
    taken: list[str | None] = []

    def run() -> None:
        with one_gpu(lambda _: None) as uuid:
            taken.append(uuid)

    with one_gpu(print):
        waiting = threading.Thread(target=run)
        waiting.start()
        time.sleep(0.05)
        assert taken == []
    waiting.join(HANGS)
    assert taken == ["GPU-a"]


def test_without_a_gpu_nothing_is_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvml.install(monkeypatch)
    with one_gpu(print) as uuid:
        assert uuid is None
    assert list(tmp_path.iterdir()) == []


def test_two_runs_at_once_train_on_one_gpu_each(monkeypatch: pytest.MonkeyPatch, colours: Path, tmp_path: Path) -> None:
    """The runs are real and train on this machine's CPU; what is simulated is which GPUs the driver lists."""
    words = [
        "task=folder",
        f"task.path={colours}",
        "model=tiny",
        "training.epochs=1",
        f"results={tmp_path / 'results'}",
    ]
    words += ["measure.retention_items=null", "measure.latency_requests=2"]
    cells = [compositions([*words, f"method={method}"])[0] for method in ("full", "lora")]
    plans = [cell.planned(cell.load_task()) for cell in cells]
    nvml.install(monkeypatch, Card("GPU-a"), Card("GPU-b"))
    gpus: list[str | None] = []
    both = threading.Barrier(2, timeout=HANGS)
    start = start_run._in_a_process

    def noting(*arguments: object) -> object:
        gpus.append(arguments[-1])  # type: ignore[arg-type]
        both.wait()  # neither ends before the other has its GPU
        return start(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(start_run, "_in_a_process", noting)
    monkeypatch.setattr(start_run, "start_method", lambda: "forkserver")
    statuses: list[str] = []

    def carry_out(place: int) -> None:
        folder = tmp_path / "results" / str(place)
        folder.mkdir(parents=True)
        statuses.append(start_run.carry_out(cells[place].config, plans[place], folder, "run").status)

    runs = [threading.Thread(target=carry_out, args=(place,)) for place in (0, 1)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(HANGS)
    assert sorted(map(str, gpus)) == ["GPU-a", "GPU-b"]
    assert statuses == ["ok", "ok"]


def test_a_run_sees_only_its_gpu_and_numbers_them_as_the_driver_does() -> None:
    script = "import os; from harness.sweep.one_gpu import show_only; show_only('GPU-b'); "
    script += "print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['CUDA_DEVICE_ORDER'])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["GPU-b", "PCI_BUS_ID"]


@pytest.mark.parametrize("gpu", [True, False])
def test_the_fork_server_imports_nothing_that_asks_the_device(gpu: bool) -> None:
    """bitsandbytes initialises CUDA when it is imported, and peft and trl import it."""
    script = (
        "import sys; from harness.measurement import machine\n"
        f"machine.device_kind = lambda: 'NVIDIA H100' if {gpu} else 'cpu'\n"
        "import harness.sweep.preload\n"
        "print(*{'torch', 'transformers', 'peft', 'trl', 'bitsandbytes'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded = set(out.split())
    assert loaded == {"torch", "transformers"} if gpu else loaded >= {"torch", "transformers", "peft", "trl"}


def test_a_gpu_that_torch_cannot_use_is_an_error_and_not_a_run_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.install(monkeypatch, Card("GPU-a"))
    with pytest.raises(UserError, match=r"The driver lists NVIDIA H100, but torch .* cannot use it"):
        start_run._check_device()
    nvml.install(monkeypatch)
    start_run._check_device()
