"""Results to decide on, invented, and the command that decides."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from harness.cli import app
from harness.decide import Limits, decide
from harness.records.reading import PREDICTIONS_FILE, VALIDATION_FILE, Record, load_records
from tests.invented import record, revised, store

Run = tuple[Record, Sequence[float], Sequence[float]]
# a record, its scores on test and on validation


def answered(root: Path, runs: Sequence[Run]) -> str:
    """Records with their answers to test and validation items, whose means they have."""
    fitted = []
    for number, (run, test, validation) in enumerate(runs):
        quality = {"value": sum(test) / len(test), "n": len(test)}
        chosen = {"value": sum(validation) / len(validation), "n": len(validation)}
        fitted.append(revised(run, quality=quality, validation=chosen, run_id=f"run-{number}"))
    store(root, *fitted)
    for stored in load_records(str(root)):
        _, *scores = runs[int(stored.record.run_id.split("-")[1])]
        for name, file, some in zip(("test", "val"), (PREDICTIONS_FILE, VALIDATION_FILE), scores, strict=True):
            lines = [{"id": f"{name}-{i:03}", "score": score} for i, score in enumerate(some)]
            (stored.folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(root)


def only(root: str, limits: Limits = Limits()) -> Any:  # noqa: B008
    (decision,) = decide(root, limits)
    return decision


def said(*words: str) -> Any:
    return CliRunner().invoke(app, ["decide", *words])


def right(share: float, n: int = 100, seed: int = 0) -> list[float]:
    scores = [1.0] * round(share * n) + [0.0] * (n - round(share * n))
    random.Random(seed).shuffle(scores)
    return scores


def first(count: int, n: int = 100) -> list[float]:
    return [1.0] * count + [0.0] * (n - count)


def behaviour(root: Path) -> str:
    """Training mends most errors; passages do little. LoRA is as good as full fine-tuning and needs less."""
    return answered(
        root,
        [
            (record("zero_shot", memory=420, p50=48), first(20), first(20)),
            (record("rag", memory=540, p50=420), first(24), first(24)),
            (record("full", memory=2600, p50=49, seconds=530), first(80), first(80)),
            (record("lora", memory=960, p50=70, rank=8), first(79), first(79)),
            (record("prefix", memory=900, p50=55), first(60), first(60)),
        ],
    )


def knowledge(root: Path) -> str:
    """Only passages mend errors, and more so in a model that has learned to read them."""
    return answered(
        root,
        [
            (record("zero_shot", memory=420, p50=48, probes="knowledge"), first(5), first(5)),
            (record("oracle", memory=420, p50=48, probes="knowledge"), first(40), first(40)),
            (record("rag", memory=540, p50=420, probes="knowledge"), first(30), first(30)),
            (record("lora", memory=960, p50=70, rank=8, probes="knowledge"), first(10), first(10)),
            (record("rag_lora", memory=1500, p50=430, rank=8, probes="knowledge"), first(70), first(70)),
        ],
    )
