"""Records as the harness writes them, invented, for what is made from records: reports, figures, their choices."""

from __future__ import annotations

import re
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from harness import stats
from harness.measurement.readings import Environment
from harness.records.costs import Prices
from harness.records.record import Failure, Record
from harness.report import write_report

MIB = 2**20
PARAMETERS = 134_515_008


def estimate(value: float, n: int) -> dict[str, Any]:
    found = stats.wilson(round(value * n), n)
    return {"metric": "accuracy", "value": found.value, "low": found.low, "high": found.high, "n": n}


def made(**values: Any) -> Record:
    """A record from values as its file has them; parts may be given as they are, or as dicts."""
    parts = {name: asdict(v) if is_dataclass(v) and not isinstance(v, type) else v for name, v in values.items()}
    return msgspec.convert(parts, Record)


def revised(record: Record, **values: Any) -> Record:
    """A record with other values; of a part that is given as a dict only what it names is another."""
    before = asdict(record)
    merged = {n: (before[n] or {}) | v if isinstance(v, dict) and n != "config" else v for n, v in values.items()}
    return made(**before | merged)


def training(rank: int | None, seconds: float, trainable: int | None = None) -> dict[str, Any]:
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


def record(
    method: str = "lora",
    test: float = 0.7,
    chosen: float = 0.7,
    n: int = 120,
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
    own = training(rank, seconds or 210.0, None if rank else PARAMETERS) if trained else None
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
        quality=estimate(test, n)
        | {
            "unscored": 0,
            "metrics": {"accuracy": test, "free_generation": test * 0.9},
            "slices": {"billing": {"value": test, "n": n // 2}, "returns": {"value": test, "n": n - n // 2}},
        },
        validation=estimate(chosen, 80),
        training=own,
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
    return made(**values | changes)


def failed(method: str, status: str, message: str, rank: int | None = None) -> Record:
    """A run that ended before it knew anything."""
    bare = record(method, rank=rank)
    return replace(
        bare,
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


def on(rows: int, *records: Record) -> list[Record]:
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


def store(root: Path, *records: Record) -> Path:
    for r in records:
        folder = root / r.experiment / re.sub(r"\W", "_", r.task) / r.model / r.method / r.run_id
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(r.to_json(), encoding="utf-8")
    return root


def quickstart() -> list[Record]:
    """A sweep as a user would have it: prompting, training at several ranks and seeds, one failure."""
    return [
        record("zero_shot", 0.31, 0.30, memory=420, p50=48),
        record("instructed", 0.42, 0.40, memory=450, p50=95),
        record("few_shot", 0.45, 0.44, memory=520, p50=310),
        record("rag", 0.52, 0.50, memory=540, p50=420),
        record("oracle", 0.97, 0.99, memory=500, p50=120),
        record("full", 0.83, 0.82, memory=2600, p50=49, seconds=530),
        record("prefix", 0.55, 0.57, memory=900, p50=55, seconds=200),
        *(
            record("lora", 0.66 + 0.03 * i, 0.65 + 0.04 * i, memory=960 + 20 * i, p50=70 + i, rank=r, seed=s)
            for i, r in enumerate((4, 8, 16, 32))
            for s in (0, 1)
        ),
        *(
            record("qlora", 0.65 + 0.03 * i, 0.64 + 0.02 * i, memory=700 + 20 * i, p50=110 + i, rank=r)
            for i, r in enumerate((4, 16))
        ),
        record("rag_lora", 0.80, 0.79, memory=1500, p50=430, rank=8),
        failed("ia3", "oom", "out of memory"),
    ]


def page_of(root: Path, *records: Record, prices: Prices = Prices()) -> str:  # noqa: B008
    """The text of report.md made from these records."""
    store(root / "results", *records)
    return write_report(str(root / "results"), root / "report", prices).page.read_text(encoding="utf-8")


def table_rows(page: str, first_cell: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return [row for row in rows if row[0] == first_cell]


def tables_of(page: str) -> list[str]:
    """The tables of methods, those with a column of quality."""
    return [block for block in page.split("\n\n") if block.startswith("| method | quality |")]
