"""Invented runs for `harness check`, with what each of their items scores, and the command itself."""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from harness import cli
from harness.records.record import Record
from tests.invented import record, store

N = 500
Scores = list[float | None]


def write(root: Path, run: Record, scores: Scores, **columns: Any) -> None:
    """A run with its predictions; a column is a value, or a function of the item's number."""
    store(root, run)
    rows = [
        {"id": f"test-{i}", "score": score, "prompt": f"question {i}"}
        | {name: value(i) if callable(value) else value for name, value in columns.items()}
        for i, score in enumerate(scores)
    ]
    (path,) = [p for p in root.rglob("record.json") if Record.from_json(p.read_text()) == run]
    (path.parent / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def answers(right: int, n: int = N) -> Scores:
    scores: Scores = [1.0] * right + [0.0] * (n - right)
    random.Random(1).shuffle(scores)
    return scores


def changed(scores: Scores, better: int, worse: int, seed: int = 0) -> Scores:
    """The same answers, but for so many that are right now and so many that are wrong now."""
    draw = random.Random(seed)
    flipped = [
        i
        for value, count in ((0.0, better), (1.0, worse))
        for i in draw.sample([i for i, score in enumerate(scores) if score == value], count)
    ]
    return [1 - score if i in flipped and score is not None else score for i, score in enumerate(scores)]


def run(*words: str) -> tuple[int, str, str]:
    """`harness check ...` in this process: exit code, what it printed, what it complained of."""
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


def checked(root: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, err = run("--baseline", f"{root / 'a'}", "--candidate", f"{root / 'b'}", "--json", *words)
    assert out, err
    return code, json.loads(out)


def two(root: Path, better: int, worse: int, n: int = N, **changes: Any) -> Path:
    """Full fine-tuning and a candidate, one checkpoint each, on one task."""
    base = answers(n * 7 // 10, n)
    write(root / "a", record("full", n=n), base)
    write(root / "b", record("lora", n=n, rank=8, **changes), changed(base, better, worse))
    return root


def seeded(
    root: Path, *, drop: int = 0, seeds: int = 3, task: str = "ticket_routing", n: int = N, **candidate: Any
) -> Path:
    """Both with several training seeds, whose answers differ on a few items; `drop` more are wrong in the candidate."""
    base = answers(n * 7 // 10, n)
    for seed in range(seeds):
        write(root / "a", record("full", n=n, seed=seed, task=task), changed(base, 3, 3, seed))
        write(
            root / "b",
            record("lora", n=n, rank=8, seed=seed, task=task, **candidate),
            changed(base, 3, 3 + drop, seed + 9),
        )
    return root
