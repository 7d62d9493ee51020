"""How long a report on many records takes, and how much memory: first, again, and after ten new ones.

    python benchmarks/report_scale.py [--records 20000] [--items 200]

Writes synthetic records with predictions (10 tasks, 5 models, 8 methods at 5 ranks, the rest seeds) to a temporary
folder and runs `harness report` on it three times with an empty cache of its own. Prints seconds and peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.measurement.machine import describe_device
from harness.records.reading import PREDICTIONS_FILE, RECORD_FILE
from harness.records.record import Record
from harness.stats import interval

MIB = 2**20
TASKS = [f"task_{i}" for i in range(10)]
MODELS = [f"model_{i}" for i in range(5)]
METHODS = ("lora", "qlora", "dora", "prefix", "ia3", "oft", "vera", "adalora")
RANKS = (4, 8, 16, 32, 64)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=20_000)
    arguments.add_argument("--items", type=int, default=200)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, cells = Path(folder), list(every_cell(chosen.records + 10))
        for cell in cells[: chosen.records]:
            write(root / "results", *cell, chosen.items)
        print(f"{describe_device()[0]}: {chosen.records:,} records of {chosen.items} items")
        show("first", root)
        show("again", root)
        for cell in cells[chosen.records :]:
            write(root / "results", *cell, chosen.items)
        show("after ten new ones", root)


def every_cell(count: int) -> Iterator[tuple[str, str, str, int, int]]:
    """Task, model, method, rank, seed; the last ones are further seeds of one task and model."""
    cells = [(t, m, method, rank) for t in TASKS for m in MODELS for method in METHODS for rank in RANKS]
    for number in range(count):
        yield *cells[number % len(cells)], number // len(cells)


def write(results: Path, task: str, model: str, method: str, rank: int, seed: int, items: int) -> None:
    draw = random.Random(f"{task} {model} {method} {rank} {seed}")
    level = 0.4 + 0.02 * METHODS.index(method) + 0.03 * RANKS.index(rank)
    lines = [answer(task, i, float(draw.random() < level)) for i in range(items)]
    record = invented(task, model, method, rank, seed, [line["score"] for line in lines], draw)
    folder = results / record.experiment / task / model / method / record.run_id
    folder.mkdir(parents=True)
    (folder / PREDICTIONS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / RECORD_FILE).write_text(record.to_json(), encoding="utf-8")


def answer(task: str, item: int, score: float) -> dict[str, Any]:
    return {
        "id": f"test-{item}",
        "prompt": f"<|im_start|>user\nQuestion {item} of {task}, with some words around it.<|im_end|>\n",
        "completion": "yes" if score else "no",
        "score": score,
        "evidence": [],
        "prompt_tokens": 40,
        "completion_tokens": 2,
        "milliseconds": 55.0,
        "cluster": None,
        "metrics": {"accuracy": score},
    }


def invented(
    task: str, model: str, method: str, rank: int, seed: int, scores: list[float], draw: random.Random
) -> Record:
    found = interval(scores)
    assert found is not None
    quality = {"metric": "accuracy", "value": found.value, "low": found.low, "high": found.high, "n": found.n}
    memory = int((600 + 10 * rank + draw.random()) * MIB)
    values = dict(
        run_id=f"{draw.getrandbits(40):010x}-synth",
        status="ok",
        task=task,
        probes="behaviour",
        model=model,
        method=method,
        adaptation=method,
        context="zero_shot",
        train_context="zero_shot",
        rank=rank,
        seed=seed,
        experiment="synthetic",
        quality=quality | {"unscored": 0, "metrics": {"accuracy": found.value}, "slices": {}},
        validation=quality | {"value": min(1.0, max(0.0, found.value + draw.gauss(0, 0.03)))},
        training={
            "seconds": 60 + rank + draw.random(),
            "learning_rate": 1e-3,
            "trainable_parameters": 300_000 * rank,
            "peak_memory_bytes": memory,
            "shared": False,
        },
        inference={
            "latency_ms": {"p50": 50 + rank / 8 + draw.random(), "p95": 80.0, "p99": 90.0, "mean": 55.0, "spread": 0.1},
            "items_per_second": 12.0,
            "prompt_tokens": 40.0,
        },
        memory={"kind": "rss", "load": {"allocated": 300 * MIB}, "train": {"allocated": memory}},
        seconds={"training": 60.0, "inference": 10.0, "other": 1.0},
        environment={"device": "cpu", "data_sha256": f"{TASKS.index(task):064x}", "commit": "0" * 7},
        config={"task": {"name": task}, "seed": seed, "training": {"learning_rate": 1e-3, "epochs": 2}},
        overrides=[f"task={task}", f"model={model}", f"method={method}", f"rank={rank}", f"seed={seed}"],
    )
    return msgspec.convert(values, Record)


def show(name: str, root: Path) -> None:
    command = [sys.executable, "-m", "harness", "report", str(root / "results"), "--out", str(root / "report")]
    began = time.perf_counter()
    subprocess.run(
        command, check=True, env={**os.environ, "HARNESS_CACHE": str(root / "cache")}, stdout=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 2**30
    print(f"{name:20} {seconds:6.1f} s; the largest process so far {peak:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
