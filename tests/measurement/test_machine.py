"""On what a run was made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import harness
from harness.measurement.machine import source_commit


@pytest.mark.parametrize("changed", ["harness/stats/intervals.py", "conf/config.yaml", "tasks/port_log/task.yaml"])
def test_a_change_of_code_settings_or_tasks_makes_a_run_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    for name in (changed, "harness/__init__.py", "docs/page.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(harness, "__file__", str(tmp_path / "harness" / "__init__.py"))
    (tmp_path / "docs" / "page.md").write_text("after")
    assert source_commit.__wrapped__()[1] is False
    (tmp_path / changed).write_text("after")
    commit, dirty = source_commit.__wrapped__()
    assert (len(commit or ""), dirty) == (40, True)
