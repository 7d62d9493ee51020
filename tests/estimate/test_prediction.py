"""What an estimate says of a run before it starts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.estimate import prediction
from harness.measurement.machine import describe_device
from harness.sweep import compose
from tests.factories import make_record, revise, write_results
from tests.tiny_model import tiny_settings


def test_a_7b_estimate_adds_up_and_says_which_gpus_it_fits() -> None:
    alone = ["training.gradient_checkpointing=true", "training.batch_size=1"]
    (asked,) = compose.compositions(["model=shape-llama2-7b", "method=qlora", *alone])
    found = prediction.estimate(asked, prediction.Request(tokens=512))
    assert found.device == "cuda"
    assert sum(found.parts.values()) == found.peak_memory_bytes
    assert found.fits["24 GB"]
    assert found.other_checkpointing_bytes and found.other_checkpointing_bytes > found.peak_memory_bytes
    assert found.seconds_per_step is None  # nothing was measured, so nothing is said


def test_a_time_comes_from_earlier_runs_on_this_device_and_from_nowhere_else(tmp_path: Path) -> None:
    asked = tiny_settings("method=lora", f"results={tmp_path / 'results'}")
    request = prediction.Request(tokens=32, device="cpu")
    assert prediction.estimate(asked, request, thorough=False).seconds_per_step is None
    for device, flops in ((describe_device()[0], 4e9), ("another", 9e99)):
        made = make_record("lora", rank=8, seed=int(flops < 5e9))
        trained = {"flops": flops, "seconds": 2.0}
        write_results(tmp_path / "results", revise(made, training=trained, environment={"device": device}))
    found = prediction.estimate(asked, request, thorough=False)
    assert found.step_flops and found.seconds_per_step == pytest.approx(found.step_flops / 2e9)
    assert "1 earlier lora runs" in found.throughput


def test_the_command_prints_json_and_what_makes_it_fit() -> None:
    words = ["estimate", "model=tiny", "method=lora", "--tokens", "16", "--fit", "24GB", "--json"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0
    found = json.loads(said.stdout)
    assert found["fit"]["fits"] and sum(found["parts"].values()) == found["peak_memory_bytes"]
