"""Who may import whom, as `make lint` checks it, and that these checks find what they are for."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "harness"
WITHOUT_TORCH = ("report", "check", "decide", "stats", "records", "tasks.definition", "tasks.scoring", "catalogue")
WITH_HYDRA = {"compose.py"}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(HARNESS, tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(copy: Path, module: str, line: str) -> None:
    path = copy / "harness" / module
    path.write_text(f"{path.read_text()}\n\n{line}\n")


def test_the_code_keeps_its_floors() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("stats/intervals.py", "from harness.records.record import Record", "Floors"),
        ("stats/intervals.py", "def late() -> None:\n    from harness.settings import Settings", "Floors"),
        ("check/gate.py", "from harness.report import html", "Floors"),
        ("text.py", "from harness import paths", None),
        ("text.py", "from harness import embedding", "Results are read without torch"),
        ("tasks/metrics.py", "def late() -> None:\n    import torch", "Results are read without torch"),
        ("tasks/documents.py", "from harness.models import loading", "Results are read without torch"),
        ("measurement/flops.py", "from harness.tasks import metrics", None),
    ],
)
def test_an_import_that_is_not_allowed_is_found(copy: Path, module: str, line: str, broken: str | None) -> None:
    plant(copy, module, line)
    done = lint(copy)
    assert (done.returncode == 0) == (broken is None), done.stdout
    assert broken is None or f"{broken}" in done.stdout.partition("Broken contracts")[2]


@pytest.mark.parametrize(
    ("first", "second"),
    [("check", "decide"), ("tasks/metrics", "tasks/scoring"), ("report/tables", "report/page"), ("text", "stats")],
)
def test_a_cycle_is_found(copy: Path, first: str, second: str) -> None:
    for one, other in ((first, second), (second, first)):
        module = one if (copy / f"harness/{one}.py").exists() else f"{one}/__init__"
        plant(copy, f"{module}.py", f"def late() -> None:\n    import harness.{other.replace('/', '.')}")
    done = lint(copy)
    assert done.returncode == 1
    assert "No cycles" in done.stdout.partition("Broken contracts")[2]


def imported(path: Path) -> set[str]:
    """Names of the modules that a file imports anywhere."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_reading_results_loads_no_torch(module: str) -> None:
    script = f"import sys, harness.{module}; sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_one_module_knows_hydra() -> None:
    users = {path.name for path in HARNESS.rglob("*.py") if any(n.startswith("hydra") for n in imported(path))}
    assert users == WITH_HYDRA
