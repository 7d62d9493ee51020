"""The wheel carries what a run needs, and without the extra `[run]` it reads results."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from harness.cli import app
from harness.installation import RUN

ROOT = Path(__file__).parents[2]
FIXED = {
    "torch", "transformers", "peft", "bitsandbytes", "trl", "datasets", "evaluate", "hydra-core", "pandas", "faiss-cpu",
    "sentence-transformers",
}  # fmt: skip
DEMO = "results/demo"
SIDES = ["--baseline", f"{DEMO},task=port_log,method=few_shot", "--candidate", f"{DEMO},task=port_log,method=full"]
READING = {
    "demo": (["demo"], 0, "On handbook_choice passages lift accuracy from"),
    "list": (["list"], 0, "ticket_routing"),
    "report": (["report", DEMO, "--gpu-hour", "2.5"], 0, "handbook_choice: accuracy on 60 test items"),
    "check": (["check", *SIDES], 0, "better"),
    "decide": (["decide", DEMO, "--max-memory", "2GB", "--html", "decision.html"], 0, "recommended"),
    "audit": (["audit", "port_log"], 0, "no defect"),
    "doctor": (["doctor"], 1, 'pip install "adaptation-harness[run]"'),
}
"""Commands that work without `[run]`: words, exit code, and something that they print."""
RUNNING = {
    "run": (["run", "task=port_log", "method=lora"], "harness run"),
    "a sweep": (["run", "-m", "task=port_log", "method=lora,full"], "harness run"),
    "check --run": (
        ["check", "--run", "--baseline", "method=lora", "--candidate", "method=full"],
        "harness check --run",
    ),
    "estimate": (["estimate", "model=shape-llama2-7b", "method=qlora"], "harness estimate"),
}
"""Commands that need it: words, and how they call themselves."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site-packages of `pip install WHEEL`: the wheel, and links to its dependencies without extras."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    for name in with_dependencies(needed(requirements(wheel))):
        for file in importlib.metadata.files(name) or ():
            link, target = folder / file.parts[0], Path(str(importlib.metadata.distribution(name).locate_file("")))
            if file.parts[0] not in ("..", "__pycache__") and not link.exists():
                link.symlink_to(target / file.parts[0])
    return folder


Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def python(site: Path, tmp_path: Path) -> Call:
    """The interpreter with that site-packages alone, beside the demo's results; `extra` is looked at first."""
    (tmp_path / "results").mkdir()
    (tmp_path / DEMO).symlink_to(ROOT / DEMO)

    def call(*words: str, extra: Path | None = None) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(str(folder) for folder in (extra, site) if folder)
        return subprocess.run(
            [sys.executable, "-S", *words],
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "120"}, cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip

    return call


def requirements(wheel: Path) -> list[Requirement]:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    return [Requirement(line.partition(":")[2].strip()) for line in lines if line.startswith("Requires-Dist:")]


def needed(wanted: Iterable[Requirement], extra: str = "") -> set[str]:
    """Names of what is required with an extra (besides what always is), or without any."""
    return {canonicalize_name(r.name) for r in wanted if r.marker is None or r.marker.evaluate({"extra": extra})}


def with_dependencies(names: Iterable[str]) -> set[str]:
    """Distributions with what they require, as they are installed here."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += needed(map(Requirement, importlib.metadata.requires(name) or ()))
    return found


def test_the_wheel_carries_configuration_and_tasks(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("conf", "tasks"):
        for path in (ROOT / folder).rglob("*.*"):
            if "__pycache__" not in path.parts:
                assert f"harness/data/{path.relative_to(ROOT)}" in names
    assert not any("llm" in requirement.name for requirement in requirements(wheel))
    kept = [name for name in names if name.startswith(("harness/data/results/", "harness/data/reports/"))]
    assert {name.split("/")[3] for name in kept} == {"demo"}
    assert sum(zipfile.ZipFile(wheel).getinfo(name).file_size for name in kept) < 3e6


def test_the_base_install_pulls_nothing_that_runs_a_model(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = {Requirement(line).name for line in project["optional-dependencies"]["run"]}
    assert run == set(RUN)
    base = with_dependencies(needed(requirements(wheel)))
    assert not base & {*run, "tokenizers", "huggingface-hub", "pyarrow", "omegaconf"}
    assert needed(requirements(wheel), "run") >= FIXED


def test_the_module_of_each_package_is_its_own() -> None:
    provided = importlib.metadata.packages_distributions()
    for package, module in RUN.items():
        assert package in {canonicalize_name(name) for name in provided[module]}


def test_every_command_is_tried_without_run() -> None:
    tried = {words[0] for words, *_ in (*READING.values(), *RUNNING.values())}
    assert tried == set(get_command(app).commands)  # type: ignore[attr-defined]


def test_the_documentation_says_of_each_command_whether_it_needs_run() -> None:
    page = (ROOT / "docs" / "installation.md").read_text()
    said = dict(re.findall(r"^\| `harness ([\w -]+)` \| (yes|no)\b", page, re.MULTILINE))
    assert said == {**dict.fromkeys(READING, "no"), **dict.fromkeys(RUNNING.keys() - {"a sweep"}, "yes")}


@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_works_without_run(python: Call, command: str) -> None:
    words, code, text = READING[command]
    done = python("-m", "harness", *words)
    assert (done.returncode, done.stderr) == (code, "")
    assert text in done.stdout


@pytest.mark.parametrize("command", RUNNING)
def test_a_command_that_runs_a_model_says_in_a_line_what_to_install(python: Call, command: str) -> None:
    words, name = RUNNING[command]
    done = python("-m", "harness", *words)
    expected = f'{name} needs torch: pip install "adaptation-harness[run]"\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


@pytest.mark.parametrize("command", [(), *((name,) for name in get_command(app).commands)])  # type: ignore[attr-defined]
def test_help_needs_nothing(python: Call, command: tuple[str, ...]) -> None:
    done = python("-m", "harness", *command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout


def test_an_audit_without_run_finds_copies_and_says_what_it_skipped(python: Call, colours: Path) -> None:
    rows = (colours / "train.jsonl").read_text()
    copied = json.loads(rows.splitlines()[0]) | {"id": "test-copy"}
    with (colours / "test.jsonl").open("a") as file:
        file.write(json.dumps(copied) + "\n")
    done = python("-m", "harness", "audit", str(colours))
    assert (done.returncode, done.stderr) == (1, "")
    assert "copied_item: test-copy and train-0" in done.stdout
    assert "skipped: lengths" in done.stdout
    assert "TF-IDF" in done.stdout


def test_rows_of_the_hub_need_datasets_and_that_is_no_defect(python: Call) -> None:
    done = python("-m", "harness", "audit", "banking77")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'task=banking77 from the hub needs datasets: pip install "adaptation-harness[run]"\n'


def test_a_notebook_reads_without_run_and_is_told_what_running_needs(python: Call) -> None:
    script = f"""
from harness import api
from harness.errors import NotInstalled
sides = [{SIDES[1]!r}, {SIDES[3]!r}]
print(len(api.records({DEMO!r})), len(api.items({DEMO!r})), api.check(*sides).verdict, len(api.decide({DEMO!r})))
print(api.report({DEMO!r}, "mine").page.exists())
try:
    api.run("method=lora")
except NotInstalled as line:
    print(line)
"""
    done = python("-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    *numbers, line = done.stdout.splitlines()
    assert numbers == ["16 960 better 2", "True"]
    assert line == 'api.run needs torch: pip install "adaptation-harness[run]"'


def test_what_is_missing_of_run_is_named(python: Call, tmp_path: Path) -> None:
    for module in set(RUN.values()) - {"peft"}:
        (tmp_path / f"{module}.py").touch()
    done = python("-m", "harness", "run", extra=tmp_path)
    assert (done.returncode, done.stderr) == (2, 'harness run needs peft: pip install "adaptation-harness[run]"\n')


def test_another_missing_module_is_not_hidden(python: Call, tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("import missing_of_yaml")
    done = python("-m", "harness", "list", extra=tmp_path)
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'missing_of_yaml'" in done.stderr
