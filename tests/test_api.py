"""What a notebook does, as docs/api.md shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import api
from harness.errors import UserError
from tests.commands import run_check

ROOT = Path(__file__).parents[1]


@pytest.fixture
def beside_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "results" / "demo", tmp_path / "results" / "demo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_runs_from_top_to_bottom(beside_the_demo: Path) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL):
        exec(block, names)
    assert len(names["runs"]) == 16
    assert len(names["answers"]) == 9 * 60
    assert 0 < len(names["fixed"]) < 60
    assert names["outcome"].verdict == "better"
    assert names["page"].exists()
    record = names["record"]
    assert (record.status, record.method, record.quality.n) == ("ok", "few_shot", 8)
    assert api.run(*record.overrides).run_id == record.run_id


def test_rows_are_the_records_and_the_items_they_scored(beside_the_demo: Path) -> None:
    runs, items = api.records("results/demo"), api.items("results/demo")
    for _, row in runs.iterrows():
        scores = items[items["run_id"] == row["run_id"]]["score"]
        assert scores.mean() == pytest.approx(row["quality.value"])
    assert len(api.items("results/demo,method=rag", "validation")) == 12
    with pytest.raises(UserError, match="split=train: known are test and validation"):
        api.items("results/demo", "train")


def test_answers_are_those_of_the_commands(beside_the_demo: Path) -> None:
    sides = ("results/demo,task=port_log,method=zero_shot", "results/demo,task=port_log,method=lora,rank=8")
    printed = json.loads(run_check("--baseline", sides[0], "--candidate", sides[1], "--json")[1])
    assert api.check(*sides).verdict == printed["verdict"]
    with pytest.raises(UserError, match="--max-memory 2XB"):
        api.decide("results/demo", max_memory="2XB")


def test_one_cell_is_run_and_no_sweep(beside_the_demo: Path) -> None:
    with pytest.raises(UserError, match=r"2 cells; api\.run runs one"):
        api.run("-m", "method=lora,full", "model=tiny")
    with pytest.raises(UserError, match="no record; does this context apply"):
        api.run("method=rag", "model=tiny", "task=port_log", "results=none")


def test_reading_loads_no_torch(beside_the_demo: Path) -> None:
    script = "import sys; from harness import api; api.records('results/demo'); api.decide('results/demo'); "
    script += "sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
