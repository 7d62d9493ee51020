"""A run in a process of its own: killed, left alone, failed."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from tests.commands import HANGS, Run
from tests.factories import read_records


def test_a_run_after_a_large_one_shows_its_own_peak(harness_run: Run, results: Path) -> None:
    """A sweep whose first model has 370 MB of weights and gradients and whose second has hardly any."""
    assert harness_run("-m", "method=full", "training.epochs=1", "model.shape.intermediate_size=40000,64") == 0
    small, large = sorted(r["memory"]["train"]["allocated"] for r in read_records(results))
    assert small < large / 3


def test_a_killed_run_is_recorded_and_the_rest_goes_on(harness_run: Run, results: Path) -> None:
    killed: list[int] = []

    def kill_the_first_to_train() -> None:
        me = psutil.Process()
        while not killed and time.monotonic() < deadline:
            if len(list(results.glob(".locks/*"))) > 1:  # the run's own, and that of the weights it trains
                runs = [child for child in me.children(recursive=True) if child.ppid() != me.pid]
                youngest = max(runs, key=lambda child: child.create_time())
                youngest.kill()
                killed.append(youngest.pid)
            time.sleep(0.02)

    deadline = time.monotonic() + HANGS
    assassin = threading.Thread(target=kill_the_first_to_train)
    assassin.start()
    epochs = "training.epochs=1000000,1"  # the first ends only if it is killed
    code = harness_run("-m", "method=full", epochs, "training.early_stopping_patience=null")
    deadline = 0.0
    assassin.join()
    assert killed
    assert code == 1
    by_epochs = {r["config"]["training"]["epochs"]: r for r in read_records(results)}
    ended, finished = by_epochs[1_000_000], by_epochs[1]
    assert (ended["status"], finished["status"]) == ("crashed", "ok")
    assert "SIGKILL" in ended["error"]["message"]
    assert ended["environment"]["data_sha256"] == finished["environment"]["data_sha256"]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # of an orphan, until it is reaped
    except psutil.NoSuchProcess:
        return False


def test_a_run_ends_with_the_command_that_started_it(colours: Path, results: Path) -> None:
    overrides = ["method=full", "training.epochs=1000000", "training.early_stopping_patience=null"]
    overrides += [f"results={results}"]
    words = ["task=folder", f"task.path={colours}", "model=tiny", *overrides]
    command = psutil.Popen([sys.executable, "-m", "harness", "run", *words], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + HANGS
    while len(list(results.glob(".locks/*"))) < 2:  # the run's own, and that of the weights it trains
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started = command.children(recursive=True)
    command.kill()
    command.wait()
    assert started
    while any(map(is_alive, started)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (record,) = read_records(results)
    assert record["status"] == "interrupted"
    assert record["error"]["message"] == "the command that started it has ended"


def test_a_failed_run_is_recorded_with_its_reason_and_starts_again(harness_run: Run, results: Path) -> None:
    broken = ("method=lora", "adaptation.peft.target_modules=[no_such_layer]", "training.epochs=1")
    for _ in range(2):
        assert harness_run(*broken) == 1
        (record,) = read_records(results)
        assert record["status"] == "failed"
        assert "no_such_layer" in record["error"]["message"]
        assert "Traceback" in record["error"]["traceback"]
        assert record["quality"] is None


def test_a_secret_is_not_written(harness_run: Run, results: Path) -> None:
    assert (
        harness_run("method=rag", "+model.token=hf_abc", "+model.more={secret: hf_abc}", "context.chunk.tokens=64") == 0
    )
    assert "context.chunk.tokens=64" in read_records(results)[0]["overrides"]  # a number of tokens is none
    for path in results.rglob("*"):
        assert not path.is_file() or "hf_abc" not in path.read_text(errors="ignore")
