"""Who may import whom: results are read without torch, and nothing but the command line knows Hydra."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent.parent / "harness"
WITHOUT_TORCH = [
    f"harness.{name}"
    for name in (
        "report",
        "check",
        "decide",
        "stats",
        "records",
        "tasks",
        "documents",
        "metrics",
        "scoring",
        "rules",
        "sql",
        "catalogue",
    )
]
WITH_HYDRA = {"sweep.py"}
LOWEST_FIRST = [
    {
        "errors",
        "places",
        "progress",
        "metrics",
        "stats",
        "environment",
        "matmul",
        "records",
        "sql_child",
        "quiet",
        "memory",
        "copies",
        "helper",
        "pace",
        "board",
    },
    {"documents", "rules", "sql", "copies"},
    {"tasks", "hub", "targets", "catalogue", "store", "gauges", "measure"},
    {"scoring", "retrieval", "adaptation", "models"},
    {"contexts", "settings", "prompts", "flops", "shared_prefix"},
    {"answering"},
    {"evaluation", "training", "footprint", "baselines", "evaluate_modules"},
    {"weights", "retention", "audit", "estimate", "run", "warm"},
    {"processes", "report", "check", "decide", "doctor"},
    {"sweep", "demo"},
    {"fill"},
    {"cli", "__main__"},
]


def imported(path: Path, *, at_load: bool) -> set[str]:
    """Modules that a file imports; `at_load` leaves out imports inside functions and for type checking."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_load else list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return names | {f"{node.module}.{alias.name}" for node in froms for alias in node.names}


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_reading_results_loads_no_torch(module: str) -> None:
    script = f"import sys, {module}; sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_only_the_command_line_knows_hydra() -> None:
    users = {p.name for p in HARNESS.rglob("*.py") if any(n.startswith("hydra") for n in imported(p, at_load=False))}
    assert users == WITH_HYDRA


def test_nothing_imports_upwards() -> None:
    height = {name: level for level, names in enumerate(LOWEST_FIRST) for name in names}
    for path in HARNESS.glob("*.py"):
        if path.stem == "__init__":
            continue
        for name in imported(path, at_load=True):
            parts = name.split(".")
            if parts[0] == "harness" and len(parts) > 1 and parts[1] in height:
                assert height[parts[1]] <= height[path.stem], f"{path.name} imports {name}"
