"""Margins, from a file or an option."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import check_pair, run_check
from tests.factories import (
    write_pair,
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics: {acuracy: 0.02}", "metrics.acuracy: not known; known are accuracy"),
        ("resources: {latency_ms: ten}", "resources.latency_ms='ten': expected a share"),
        ("resources: {latency_ms: 10}", "resources.latency_ms=10: expected a share"),
        ("metrics: {accuracy: true}", "metrics.accuracy=True: expected a share"),
        ("metrics: 0.02", "metrics=0.02: expected names, each with a share"),
        ("quality: 0.02", "quality: not known; known are metrics, resources"),
        ("- 1", "expected fields such as metrics, resources"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_mistake_in_the_margins_is_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    write_pair(tmp_path, 5, 5)
    path = tmp_path / "margins.yaml"
    path.write_text(text)
    code, _, err = run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b", "--margins", str(path))
    assert code == 2
    assert f"{path}: {said}" in err


def test_margins_come_from_the_file_and_the_option_wins(tmp_path: Path) -> None:
    write_pair(tmp_path, 25, 30)
    path = tmp_path / "margins.yaml"
    path.write_text("metrics: {accuracy: 0.06}\nresources: {peak_memory: 0.5}\n")
    assert check_pair(tmp_path)[0] == 3
    code, data = check_pair(tmp_path, "--margins", str(path))
    assert (code, data["tasks"][0]["margin"], data["resources"][2]["margin"]) == (0, 0.06, 0.5)
    assert data["resources"][0]["margin"] == 0.10
    code, data = check_pair(tmp_path, "--margins", str(path), "--margin", "0.01")
    assert (code, data["tasks"][0]["margin"]) == (3, 0.01)
