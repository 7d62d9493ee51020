"""The wheel carries what a run needs."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_carries_configuration_and_tasks(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("conf", "tasks"):
        for path in (ROOT / folder).rglob("*.*"):
            if "__pycache__" not in path.parts:
                assert f"harness/data/{path.relative_to(ROOT)}" in names
    assert not any("llm" in line for line in _requirements(wheel))
    kept = [name for name in names if name.startswith(("harness/data/results/", "harness/data/reports/"))]
    assert {name.split("/")[3] for name in kept} == {"demo"}
    assert sum(zipfile.ZipFile(wheel).getinfo(name).file_size for name in kept) < 3e6


def _requirements(wheel: Path) -> list[str]:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    return [line for line in archive.read(metadata).decode().splitlines() if line.startswith("Requires-Dist")]
