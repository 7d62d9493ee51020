"""Invented records and results folders, as the harness writes them, and reports made from them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from harness import stats
from harness.measurement.readings import Environment
from harness.records.costs import Prices
from harness.records.reading import PREDICTIONS_FILE, VALIDATION_FILE
from harness.records.record import Failure, Record
from harness.report import write_report

MIB = 2**20
N_REPORTED = 120
"""Items of a run, unless a test says otherwise."""
N_CHECKED = 500
"""Items of a run in the tests of `harness check`, which needs more of them."""
PARAMETERS = 134_515_008


def make_quality(value: float, n: int) -> dict[str, Any]:
    interval = stats.wilson(round(value * n), n)
    return {"metric": "accuracy", "value": interval.value, "low": interval.low, "high": interval.high, "n": n}


def parse_record(**values: Any) -> Record:
    """A record from values as its file has them; a part may be a dataclass or a dict."""
    parts = {name: asdict(v) if is_dataclass(v) and not isinstance(v, type) else v for name, v in values.items()}
    return msgspec.convert(parts, Record)


def revise(record: Record, **values: Any) -> Record:
    """The record with other values; a part given as a dict changes only the fields that it names."""
    before = asdict(record)
    merged = {n: (before[n] or {}) | v if isinstance(v, dict) and n != "config" else v for n, v in values.items()}
    return parse_record(**before | merged)


def make_training(rank: int | None, seconds: float, trainable: int | None = None) -> dict[str, Any]:
    rate = 2e-4 if rank else 2e-5
    return {
        "seconds": seconds,
        "validation_seconds": 9.1,
        "tuning_seconds": 2 * seconds,
        "steps": 75,
        "examples": 600,
        "tokens": 48_211,
        "tokens_per_second": 48_211 / seconds,
        "learning_rate": rate,
        "tried": {str(rate): 0.7, str(rate * 5): 0.6, str(rate / 5): 0.5},
        "final_train_loss": 0.31,
        "best_validation_loss": 0.42,
        "trainable_parameters": trainable or (rank or 0) * 305_280,
        "total_parameters": PARAMETERS,
        "weights_bytes": 19_000_000,
        "peak_memory_bytes": 900 * MIB,
        "shared": False,
    }


def make_record(
    method: str = "lora",
    test: float = 0.7,
    chosen: float = 0.7,
    n: int = N_REPORTED,
    memory: float = 800,
    p50: float = 60,
    *,
    rank: int | None = None,
    seconds: float | None = None,
    **changes: Any,
) -> Record:
    """One run as the harness writes it: `test` and `chosen` are test and validation values, memory in MiB."""
    adaptation = next((a for a in ("qlora", "lora", "full", "prefix", "ia3") if a in method), "none")
    context = next((c for c in ("rag", "few_shot", "instructed", "oracle") if c in method), "zero_shot")
    trained = adaptation != "none"
    trained_with = make_training(rank, seconds or 210.0, None if rank else PARAMETERS) if trained else None
    phase = {"allocated": int(memory * MIB), "reserved": int(memory * 1.1 * MIB)}
    answering = {"allocated": int(300 * MIB), "reserved": int(330 * MIB)} if trained else phase
    merged = {"latency_ms": {"p50": p50 * 0.8, "p95": p50, "mean": p50 * 0.85, "n": 20}, "quality": None}
    data = str(changes.pop("data", "3f9a0c" + "0" * 58))
    seed = changes.get("seed", 0)
    values: dict[str, Any] = dict(
        run_id=f"{method}-{rank}-{seed}-{n}-9e1f",
        status="ok",
        task="ticket_routing",
        probes="behaviour",
        model="smollm2-135m-q4",
        method=method,
        adaptation=adaptation,
        context=context,
        train_context="zero_shot" if trained else None,
        rank=rank,
        seed=seed,
        experiment="quickstart",
        quality=make_quality(test, n)
        | {
            "unscored": 0,
            "metrics": {"accuracy": test, "free_generation": test * 0.9},
            "slices": {"billing": {"value": test, "n": n // 2}, "returns": {"value": test, "n": n - n // 2}},
        },
        validation=make_quality(chosen, 80),
        training=trained_with,
        inference={
            "latency_ms": {"p50": p50, "p95": p50 * 1.3, "mean": p50 * 1.1, "n": 20},
            "first_token_ms": None,
            "merged": merged if "lora" in adaptation else None,
            "items_per_second": 14.0,
            "prompt_tokens": 640.2 if context in ("rag", "few_shot") else 71.4,
            "completion_tokens": 3.0,
            "peak_memory_bytes": answering["allocated"],
        },
        retrieval={"k": 3, "recall": 0.86, "index_seconds": 1.2, "latency_ms": {"p50": 4.1}}
        if context == "rag"
        else None,
        memory={"kind": "rss", "load": {"allocated": 280 * MIB, "reserved": 0}, "infer": answering}
        | ({"train": phase} if trained else {}),
        environment={
            "device": "cpu",
            "device_memory_bytes": 16 * 2**30,
            "python": "3.12.3",
            "packages": {"torch": "2.13.0", "peft": "0.21.2"},
            "commit": "1f0c9d2",
            "dirty": True,
            "data_sha256": data,
            "started_at": "2026-03-01T10:00:00+00:00",
            "finished_at": "2026-03-01T10:06:00+00:00",
            "seconds": 360.0,
        },
        config={"task": {"name": "ticket_routing"}, "seed": seed, "max_eval_examples": None},
    )
    return parse_record(**values | changes)


def make_costing(method: str, training: float | None, mean_ms: float, **changes: object) -> Record:
    run = make_record(method, rank=8 if training else None)
    spent = None if training is None else {"seconds": training, "tuning_seconds": 0.0}
    latency = {"latency_ms": {"p50": mean_ms, "mean": mean_ms}, "merged": None}
    return revise(run, training=spent, inference=latency, retrieval=None, **changes)  # type: ignore[arg-type]


def make_failed_record(method: str, status: str, message: str, rank: int | None = None) -> Record:
    """A run that ended before it measured anything."""
    return replace(
        make_record(method, rank=rank),
        run_id=f"{method}-{rank}-{status}",
        status=status,
        quality=None,
        validation=None,
        training=None,
        inference=None,
        memory=None,
        environment=Environment(),
        error=Failure("RuntimeError", message, "..."),
    )


def with_training_rows(rows: int, *records: Record) -> list[Record]:
    """The same runs with another number of labelled rows."""
    return [
        replace(
            r,
            run_id=f"{r.run_id}-{rows}",
            config={**r.config, "max_train_examples": rows},
            training=replace(r.training, examples=rows) if r.training else None,
        )
        for r in records
    ]


def run_folder(root: Path, run: Record) -> Path:
    return root / run.experiment / re.sub(r"\W", "_", run.task) / run.model / run.method / run.run_id


def write_results(root: Path, *records: Record) -> Path:
    """A results folder with these records; returns the folder."""
    for run in records:
        folder = run_folder(root, run)
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(run.to_json(), encoding="utf-8")
    return root


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The record files below a folder, as JSON has them."""
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("record.json"))]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# What the items of a run score


def shuffled_scores(right: int, n: int = N_REPORTED, seed: int = 0) -> list[float]:
    """`right` ones among n scores, in an order that the seed draws."""
    scores = right_then_wrong(right, n)
    random.Random(seed).shuffle(scores)
    return scores


def right_then_wrong(right: int, n: int = 100) -> list[float]:
    return [1.0] * right + [0.0] * (n - right)


def flip_scores(scores: Sequence[float], better: int, worse: int, seed: int = 0) -> list[float]:
    """The same scores, but for `better` zeros that are ones now and `worse` ones that are zeros now."""
    draw = random.Random(seed)
    flipped = [
        i
        for value, count in ((0.0, better), (1.0, worse))
        for i in draw.sample([i for i, score in enumerate(scores) if score == value], count)
    ]
    return [1 - score if i in flipped else score for i, score in enumerate(scores)]


def write_run(root: Path, run: Record, scores: Sequence[float | None], **columns: Any) -> None:
    """A run with its predictions; a column is a value, or a function of the item's number."""
    write_results(root, run)
    rows = [
        {"id": f"test-{i}", "score": score, "prompt": f"question {i}"}
        | {name: value(i) if callable(value) else value for name, value in columns.items()}
        for i, score in enumerate(scores)
    ]
    write_rows(run_folder(root, run) / PREDICTIONS_FILE, rows)


def write_scored_runs(
    root: Path, runs: Sequence[tuple[Record, Sequence[float]]], clusters: Sequence[str] | None = None
) -> Path:
    """Runs with their predictions, over the same items; returns the results folder."""
    for run, scores in runs:
        write_run(root, run, scores, cluster=lambda i: clusters[i] if clusters else None)
    return root


def write_answered_runs(root: Path, runs: Sequence[tuple[Record, Sequence[float], Sequence[float]]]) -> str:
    """Runs with their scores on test and on validation, whose means they get; returns the results folder."""
    for number, (run, test, validation) in enumerate(runs):
        quality = {"value": sum(test) / len(test), "n": len(test)}
        chosen = {"value": sum(validation) / len(validation), "n": len(validation)}
        measured = revise(run, quality=quality, validation=chosen, run_id=f"run-{number}")
        write_results(root, measured)
        for split, file, scores in (("test", PREDICTIONS_FILE, test), ("val", VALIDATION_FILE, validation)):
            rows = [{"id": f"{split}-{i:03}", "score": score} for i, score in enumerate(scores)]
            write_rows(run_folder(root, measured) / file, rows)
    return str(root)


# Whole experiments


def make_quickstart() -> list[Record]:
    """A sweep as a user would have it: prompting, training at several ranks and seeds, one failure."""
    return [
        make_record("zero_shot", 0.31, 0.30, memory=420, p50=48),
        make_record("instructed", 0.42, 0.40, memory=450, p50=95),
        make_record("few_shot", 0.45, 0.44, memory=520, p50=310),
        make_record("rag", 0.52, 0.50, memory=540, p50=420),
        make_record("oracle", 0.97, 0.99, memory=500, p50=120),
        make_record("full", 0.83, 0.82, memory=2600, p50=49, seconds=530),
        make_record("prefix", 0.55, 0.57, memory=900, p50=55, seconds=200),
        *(
            make_record("lora", 0.66 + 0.03 * i, 0.65 + 0.04 * i, memory=960 + 20 * i, p50=70 + i, rank=r, seed=s)
            for i, r in enumerate((4, 8, 16, 32))
            for s in (0, 1)
        ),
        *(
            make_record("qlora", 0.65 + 0.03 * i, 0.64 + 0.02 * i, memory=700 + 20 * i, p50=110 + i, rank=r)
            for i, r in enumerate((4, 16))
        ),
        make_record("rag_lora", 0.80, 0.79, memory=1500, p50=430, rank=8),
        make_failed_record("ia3", "oom", "out of memory"),
    ]


def write_pair(root: Path, better: int, worse: int, n: int = N_CHECKED, **changes: Any) -> Path:
    """To check: full fine-tuning in `a`, and in `b` LoRA, right on `better` more items and wrong on `worse` more."""
    baseline = shuffled_scores(n * 7 // 10, n)
    write_run(root / "a", make_record("full", n=n), baseline)
    write_run(root / "b", make_record("lora", n=n, rank=8, **changes), flip_scores(baseline, better, worse))
    return root


def write_pair_with_seeds(
    root: Path, *, drop: int = 0, seeds: int = 3, task: str = "ticket_routing", n: int = N_CHECKED, **candidate: Any
) -> Path:
    """The same with several training seeds, whose answers differ on a few items; LoRA is wrong on `drop` more."""
    scores = shuffled_scores(n * 7 // 10, n)
    for seed in range(seeds):
        baseline = make_record("full", n=n, seed=seed, task=task)
        write_run(root / "a", baseline, flip_scores(scores, 3, 3, seed))
        lora = make_record("lora", n=n, rank=8, seed=seed, task=task, **candidate)
        write_run(root / "b", lora, flip_scores(scores, 3, 3 + drop, seed + 9))
    return root


def write_behaviour_task(root: Path) -> str:
    """To decide on: training fixes most errors, passages few. LoRA is as good as full fine-tuning and needs less."""
    runs = (
        (make_record("zero_shot", memory=420, p50=48), 20),
        (make_record("rag", memory=540, p50=420), 24),
        (make_record("full", memory=2600, p50=49, seconds=530), 80),
        (make_record("lora", memory=960, p50=70, rank=8), 79),
        (make_record("prefix", memory=900, p50=55), 60),
    )
    return write_answered_runs(root, [(run, right_then_wrong(n), right_then_wrong(n)) for run, n in runs])


def write_knowledge_task(root: Path) -> str:
    """To decide on: only passages fix errors, and more so in a model that has learned to read them."""
    runs = (
        (make_record("zero_shot", memory=420, p50=48, probes="knowledge"), 5),
        (make_record("oracle", memory=420, p50=48, probes="knowledge"), 40),
        (make_record("rag", memory=540, p50=420, probes="knowledge"), 30),
        (make_record("lora", memory=960, p50=70, rank=8, probes="knowledge"), 10),
        (make_record("rag_lora", memory=1500, p50=430, rank=8, probes="knowledge"), 70),
    )
    return write_answered_runs(root, [(run, right_then_wrong(n), right_then_wrong(n)) for run, n in runs])


# Reports


def make_report(root: Path, *records: Record, prices: Prices = Prices()) -> str:  # noqa: B008
    """The text of report.md made from these records."""
    write_results(root / "results", *records)
    return write_report(str(root / "results"), root / "report", prices).page.read_text(encoding="utf-8")


def table_rows(page: str, first_cell: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return [row for row in rows if row[0] == first_cell]


def method_tables(page: str) -> list[str]:
    """The tables of methods, those with a column of quality."""
    return [block for block in page.split("\n\n") if block.startswith("| method | quality |")]
