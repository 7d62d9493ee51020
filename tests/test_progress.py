"""Progress of long steps."""

import pytest

from harness.progress import Progress


def test_without_a_standard_output_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    progress = Progress("report")
    assert not progress.interactive
    progress.step("chapters", 1, 2)
    progress.clear()
