"""A sweep on a terminal: drawn in place, with what is left; and how long that takes."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from harness.sweep.board import Board
from harness.sweep.time_left import Done, Pace, Planned
from tests.commands import HANGS

CELLS = [Planned("letters", method) for method in ("zero_shot", "few_shot", "lora", "rag")]
EXPECTED = {CELLS[0]: 10.0, CELLS[1]: 20.0, CELLS[2]: 40.0, Planned("other", "rag"): 30.0}


def make_board(cells: list[Planned] = CELLS) -> Board:
    return Board(cells, Pace(EXPECTED), "CPU", Console(file=io.StringIO(), force_terminal=True, width=80, height=30))


def test_a_board_shows_what_is_done_what_runs_and_what_waits() -> None:
    shown = make_board()
    shown.start(0, "letters zero_shot")
    shown.finish(0, "letters zero_shot", "ok", "accuracy 0.28 (0.19 to 0.41), 5 s", 5.0)
    shown.start(1, "letters few_shot")
    shown.now("answering test 3/6")
    shown.stop()
    lines = [line.rstrip() for line in shown.render(30).plain.splitlines()]
    assert lines == [
        "✓ letters zero_shot  accuracy 0.28 (0.19 to 0.41), 5 s",
        "▸ letters few_shot   answering test 3/6",
        "  letters lora",
        "  letters rag",
        "1 of 4 done, about 30 s left; CPU",  # at half the expected time: 10 + 20, and rag does not apply to letters
    ]


def test_a_failed_cell_says_what_it_was() -> None:
    shown = make_board()
    shown.start(0, "letters zero_shot")
    shown.finish(0, "letters zero_shot", "oom", "out of memory", 5.0)
    shown.stop()
    assert "✗ letters zero_shot  oom: out of memory" in shown.render(30).plain


def test_a_small_terminal_shows_the_running_cell() -> None:
    cells = [Planned("letters", f"method_{i}") for i in range(40)]
    shown = make_board(cells)
    for i in range(20):
        shown.start(i, f"letters method_{i}")
        shown.finish(i, f"letters method_{i}", "ok", "", 1.0)
    shown.start(20, "letters method_20")
    shown.stop()
    lines = shown.render(12).plain.splitlines()
    assert len(lines) == 9
    assert any(line.startswith("▸ letters method_20") for line in lines)


def test_pace_follows_the_cells_that_are_done() -> None:
    pace = Pace(EXPECTED)
    assert pace.left(CELLS[:3], []) == 70.0
    assert pace.left(CELLS[1:3], [Done(CELLS[0], 30.0)]) == pytest.approx(180.0)
    assert Pace({}).left(CELLS, []) is None
    own = [Done(Planned("x", "lora"), 8.0), Done(Planned("x", "full"), 16.0)]
    assert Pace({}).left([Planned("y", "lora"), Planned("y", "rag")], own) == pytest.approx(8 + 12)


def test_a_sweep_draws_its_runs_in_place_and_an_interruption_keeps_them(colours: Path, tmp_path: Path) -> None:
    words = ["task=folder", f"task.path={colours}", "model=tiny", f"results={tmp_path / 'results'}"]
    words += ["measure.latency_requests=2", "measure.retention_items=null", "++training.epochs=1000000"]
    words += ["++training.early_stopping_patience=null"]
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "harness", "run", "-m", *words, "method=zero_shot,full"]
    sweep = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=listen_to_interruptions
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + HANGS
    while b"training " not in seen and time.monotonic() < deadline:
        seen += read(ours)
    os.killpg(sweep.pid, signal.SIGINT)  # what Ctrl-C does: every process of the terminal is interrupted
    while sweep.poll() is None and time.monotonic() < deadline:
        seen += read(ours)
    seen += read(ours)
    text = seen.decode(errors="replace")
    assert "✓" in text
    assert "of 2 done" in text
    assert "Traceback" not in text
    assert "What was finished is kept" in text
    assert sweep.returncode == 1


def listen_to_interruptions() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job, as these tests may be, ignores them


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536) if select.select([terminal], [], [], 0.2)[0] else b""
    except OSError:  # nobody writes to it any more
        return b""
