"""`harness check` and `harness decide` in this process."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner, Result

from harness import cli
from harness.decide import Decision, Limits, decide

Run = Callable[..., int]
"""The fixture `harness_run`: overrides in, exit code out."""
HANGS = 600
"""Seconds after which a command is taken to hang, on any machine."""


def run_check(*words: str) -> tuple[int, str, str]:
    """`harness check WORDS`: its exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["harness", "check", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue(), err.getvalue()


def check_pair(root: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Check `b` of a folder against its `a`: the exit code, and what `--json` prints."""
    code, out, err = run_check("--baseline", f"{root / 'a'}", "--candidate", f"{root / 'b'}", "--json", *words)
    assert out, err
    return code, json.loads(out)


def run_decide(*words: str) -> Result:
    """`harness decide WORDS`."""
    return CliRunner().invoke(cli.app, ["decide", *words])


def decide_one(root: str, limits: Limits = Limits()) -> Decision:  # noqa: B008
    """The decision on results of one task."""
    (decision,) = decide(root, limits)
    return decision
