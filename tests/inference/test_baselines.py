"""What is reached without a language model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.inference.baselines import baselines
from harness.tasks.definition import load_task


def test_baselines_know_the_rows_and_nothing_else(colours: Path) -> None:
    task = load_task(colours)
    rows, items = task.splits["train"], task.splits["test"]
    found = baselines(task, rows, items)
    assert found["chance"] == pytest.approx([1 / 3] * 6)
    assert sum(found["majority"]) == 2  # every colour is a third of the six items
    assert found["nearest row (embeddings)"] == [1.0] * 6  # the colour stands in the text
    assert set(baselines(task, (), items)) == {"chance"}


def test_a_run_leaves_the_baselines_of_its_own_rows_and_items(harness_run: Callable[..., int], tmp_path: Path) -> None:
    assert harness_run("method=zero_shot", "max_train_examples=9", "max_eval_examples=5") == 0
    (path,) = (tmp_path / "results").rglob("baselines.json")
    kept = json.loads(path.read_text())
    assert path.parent.name == "baselines-9x5"
    assert (kept["task"], kept["rows"], kept["n"], kept["metric"]) == ("colours", 9, 5, "accuracy")
    assert kept["baselines"]["majority"]["low"] < kept["baselines"]["majority"]["value"]
