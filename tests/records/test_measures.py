"""Figures of a record: which GPU it is from, and which memory reading is quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records import measures
from harness.records.cohorts import gather
from harness.records.reading import load_records
from harness.records.record import Record
from harness.report.tables import times
from tests.factories import MIB, make_record, revise, write_results

GPUS = ("H100", "A100")
PEAK = {"allocated": 600 * MIB, "reserved": 700 * MIB, "device": 900 * MIB, "process": 800 * MIB}


def on_a_gpu(name: str = "NVIDIA H100", reading: str | None = "process") -> Record:
    memory = {"kind": "cuda", "reading": reading, "load": PEAK, "train": PEAK, "infer": PEAK}
    return revise(make_record("lora", 0.7, rank=8), memory=memory, environment={"device": name})


@pytest.mark.parametrize(("reading", "expected"), [("process", 800), ("device", 900), ("reserved", 700), (None, 800)])
def test_the_quoted_memory_is_the_reading_that_the_record_names(reading: str | None, expected: int) -> None:
    record = on_a_gpu(reading=reading)
    assert measures.training_memory(record) == expected * MIB
    assert measures.memory_kind(record) == (reading or "cuda")


def test_results_of_different_gpus_are_different_kinds_of_device() -> None:
    kinds = [measures.device_kind(on_a_gpu(name)) for name in ("NVIDIA H100", "NVIDIA A100")]
    assert kinds == ["NVIDIA H100", "NVIDIA A100"]
    assert measures.device_kind(make_record("lora", 0.7, rank=8)) == "cpu"


def test_a_cohort_has_one_gpu_model_and_shows_its_slow_first_step(tmp_path: Path) -> None:
    steps = {"first_step_ms": 3000.0, "steps": 4, "step_ms": {"p50": 500.0}}
    records = [
        revise(on_a_gpu(name), training=steps, seconds={"training": 4.5}) for name in ("NVIDIA H100", "NVIDIA A100")
    ]
    other = revise(records[1], run_id="another")
    cohorts = gather(load_records(str(write_results(tmp_path, records[0], other))), [])
    assert sorted(cohort.key.device or "" for cohort in cohorts) == ["NVIDIA A100", "NVIDIA H100"]
    table = times(cohorts[0])
    assert table is not None
    shown = dict(zip(table.headings, table.rows[0], strict=True))
    assert (shown["first training step"], shown["all steps at their median"]) == ("3.00", "2.00")
