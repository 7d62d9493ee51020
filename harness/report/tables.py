"""The tables of a cohort: rows of finished text, rendered as markdown or as plain columns.

A run that is not ok keeps its row and says what it was; it is never a zero and never missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.records import measures, seeds
from harness.records.cohorts import Baseline, Cohort, Row
from harness.records.measures import at, number
from harness.records.record import Record
from harness.stats import Estimate
from harness.text import MISSING, Table, Unit, code, count, markdown, memory_unit, plain, short, with_interval

SHARED, CONTAMINATED = "†", "‡"


@dataclass(frozen=True)
class Column:
    heading: str
    show: Callable[[Row], str]


def methods(cohort: Cohort) -> Table:
    """The main table of a cohort: what each method reaches and what it costs; empty columns are left out."""
    baselines = [(b.estimate.value, _baseline_cells(b)) for b in cohort.baselines]
    columns = _method_columns(cohort)
    width = len(columns)
    measured, ended = [], []
    for row in cohort.rows:
        cells = tuple(column.show(row) for column in columns)
        quality = measures.quality(row.record)
        if quality:
            measured.append((quality.value, cells))
        else:
            ended.append(cells)
    measured += [(value, cells + (MISSING,) * (width - len(cells))) for value, cells in baselines]
    measured.sort(key=lambda pair: -pair[0])
    table = Table(tuple(c.heading for c in columns), (*(cells for _, cells in measured), *ended))
    return table.without_empty_columns()


def _method_columns(cohort: Cohort) -> list[Column]:
    unit = memory_unit(measures.peak_memory(r) for r in cohort.records)
    several_seeds = any(len(row.runs) > 1 for row in cohort.rows)
    return [
        Column("method", lambda row: markdown(row.name)),
        Column("quality", lambda row: markdown(quality_or_status(row.record), longest=200)),
        Column("n", lambda row: _scored(row.record)),
        Column("validation", lambda row: _three_decimals(measures.validation(row.record))),
        Column("training (s)", lambda row: _training_time(row.record)),
        *_memory_columns(cohort, unit),
        Column("latency p50 (ms)", lambda row: _latency(row.record)),
        Column("merged p50 (ms)", lambda row: short(measures.merged_latency(row.record))),
        Column("trainable parameters", lambda row: _parameters(row.record)),
        Column("prompt tokens", lambda row: count(number(row.record.inference, "prompt_tokens"))),
        Column("learning rate", learning_rate),
        *([Column("seeds (sd)", _seeds)] if several_seeds else []),
    ]


def _memory_columns(cohort: Cohort, unit: Unit) -> list[Column]:
    """The peak of all phases, and of training and of answering apart where some run has both."""
    both = any(
        number(r.memory, "train", "allocated") is not None and measures.inference_memory(r) is not None
        for r in cohort.records
    )
    columns = [Column(f"peak memory ({unit.name})", lambda row: _memory(row.record, unit))]
    if both:
        columns += [
            Column(f"in training ({unit.name})", lambda row: unit.show(measures.training_memory(row.record))),
            Column(f"in inference ({unit.name})", lambda row: unit.show(measures.inference_memory(row.record))),
        ]
    return columns


def _baseline_cells(baseline: Baseline) -> tuple[str, ...]:
    name, value = markdown(f"{baseline.name} (no language model)"), with_interval(baseline.estimate)
    return name, value, count(baseline.n)


def quality_or_status(record: Record) -> str:
    """`0.81 (0.72 to 0.88)`, or what the run ended as: `oom: OutOfMemoryError: ...`; not escaped."""
    if record.status != "ok":
        error = record.error or {}
        return ": ".join(str(part) for part in (record.status, error.get("type"), error.get("message")) if part)
    estimate = measures.quality(record)
    return with_interval(estimate) if estimate else "ok, but no quality was recorded"


def _scored(record: Record) -> str:
    n, unscored = number(record.quality, "n"), number(record.quality, "unscored")
    return f"{count(n)} ({count(unscored)} unscored)" if unscored else count(n)


def _three_decimals(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def _training_time(record: Record) -> str:
    seconds = number(record.training, "seconds")
    mark = f" {SHARED}" if at(record.training, "shared") is True else ""
    mark += f" {CONTAMINATED}" if measures.contaminated(record).get("training") else ""
    return MISSING if seconds is None else short(seconds) + mark


def _memory(record: Record, unit: Unit) -> str:
    peak = measures.peak_memory(record)
    mark = f" {CONTAMINATED}" if measures.contaminated(record).get("memory") else ""
    return MISSING if peak is None else unit.show(peak) + mark


def _latency(record: Record) -> str:
    milliseconds = measures.latency(record)
    mark = f" {CONTAMINATED}" if measures.contaminated(record).get("latency") else ""
    return MISSING if milliseconds is None else short(milliseconds) + mark


def _parameters(record: Record) -> str:
    return count(number(record.training, "trainable_parameters"))


def learning_rate(row: Row) -> str:
    """`0.0003 of 3`: the value, and of how many tried on validation it is the best; seeds may have chosen several."""
    rates = dict.fromkeys(number(run.record.training, "learning_rate") for run in row.runs)
    said = ", ".join(f"{rate:g}" for rate in rates if rate is not None)
    tries = max(measures.tries(run.record) for run in row.runs)
    return (said or MISSING) + (f" of {tries}" if said and tries > 1 else "")


def _seeds(row: Row) -> str:
    """`3 (0.012)`: how many, and the standard deviation of their test values."""
    spread = seeds.spread([run.record for run in row.runs])
    return str(len(row.runs)) + (f" ({spread:.3f})" if spread is not None else "")


def secondary_metrics(cohort: Cohort) -> Table | None:
    """Every other metric that was recorded, a column each."""
    found = _named(cohort, "metrics")
    names = list(dict.fromkeys(name for _, named in found for name in named if name != cohort.metric))
    if not names:
        return None
    rows = [(markdown(row.name), *(_three_decimals(number(named, name)) for name in names)) for row, named in found]
    return Table(("method", *(markdown(n, 40) for n in names)), tuple(rows)).without_empty_columns()


def retrieval(cohort: Cohort) -> Table | None:
    rows = [
        (
            markdown(row.name),
            count(number(part, "k")),
            _three_decimals(number(part, "recall")),
            _three_decimals(number(part, "mrr")),
            _three_decimals(number(part, "ndcg")),
            short(number(part, "index_seconds")),
            short(number(part, "latency_ms", "p50") or number(part, "latency_ms")),
        )
        for row in _answered(cohort)
        if (part := row.record.retrieval)
    ]
    headings = (
        "method",
        "passages (k)",
        "recall of the evidence",
        "MRR",
        "nDCG",
        "building the index (s)",
        "retrieval (ms)",
    )
    return Table(headings, tuple(rows)).without_empty_columns() if rows else None


def retention(cohort: Cohort) -> Table | None:
    """What was forgotten: the same model before and after, on something it was not trained for."""
    rows = [
        (
            markdown(row.name),
            markdown(skill),
            _three_decimals(number(part, "before")),
            _three_decimals(number(part, "after")),
            _change(part),
            count(number(part, "n")),
        )
        for row in _answered(cohort)
        if (whole := row.record.retention)
        for skill, part in (whole.get("parts") or {whole.get("metric") or MISSING: whole}).items()
    ]
    return (
        Table(("method", "what", "before", "after", "change", "n"), tuple(rows)).without_empty_columns()
        if rows
        else None
    )


def latencies(cohort: Cohort) -> Table | None:
    """Single requests: whole, to the first token, each further one; with the task's own end and a fixed length."""
    asked = [row for row in _answered(cohort) if number(row.record.inference, "latency_ms", "p99") is not None]
    lengths = {int(n) for row in asked if (n := number(row.record.inference, "fixed", "tokens")) is not None}
    fixed = "answer of " + ", ".join(map(str, sorted(lengths))) + " tokens"
    rows = [
        (
            markdown(row.name),
            *(short(number(row.record.inference, "latency_ms", name)) for name in ("p50", "p95", "p99")),
            _percent(number(row.record.inference, "latency_ms", "spread")),
            short(number(row.record.inference, "first_token_ms", "p50")),
            short(number(row.record.inference, "per_token_ms", "p50")),
            short(number(row.record.inference, "fixed", "latency_ms", "p50")),
            short(number(row.record.inference, "fixed", "per_token_ms", "p50")),
            short(number(row.record.inference, "prefix_cached", "latency_ms", "p50")),
            short(measures.merged_latency(row.record)),
            short(number(row.record.inference, "merged", "fixed", "latency_ms", "p50")),
            _scientific(number(row.record.inference, "merged", "largest_logit_difference")),
        )
        for row in asked
    ]
    headings = (
        "method", "p50", "p95", "p99", "spread", "first token p50", "each further token p50", f"{fixed} p50",
        "each of its tokens p50", "shared prefix cached p50", "merged p50", "merged, same length, p50",
        "largest logit difference",
    )  # fmt: skip
    return Table(headings, tuple(rows)).without_empty_columns() if rows else None


def times(cohort: Cohort) -> Table | None:
    """What each run's seconds were spent on; a part in which nothing was spent is left out."""
    spent = [(row, row.record.seconds) for row in _answered(cohort) if row.record.seconds]
    names = list(dict.fromkeys(name for _, parts in spent for name, value in parts.items() if value >= 0.01))
    rows = [(markdown(row.name), *(short(number(parts, name) or None) for name in names)) for row, parts in spent]
    return Table(("method", *names), tuple(rows)) if rows else None


def predicted_memory(cohort: Cohort) -> Table | None:
    """The peak of training that `harness estimate` predicted for the longest rows, beside what was measured."""
    rows = []
    for row in _answered(cohort):
        predicted = number(row.record.training, "estimated", "train_peak_bytes")
        measured = measures.training_memory(row.record)
        if predicted is not None and measured:
            tokens = number(row.record.training, "estimated", "tokens")
            step = short(number(row.record.training, "step_ms", "p50"))
            unit = memory_unit([predicted, measured])
            sizes = (f"{unit.show(predicted)} {unit.name}", f"{unit.show(measured)} {unit.name}")
            rows.append((markdown(row.name), count(tokens), *sizes, f"{predicted / measured:.2f}", step))
    headings = ("method", "tokens of a row", "predicted", "measured", "predicted / measured", "step p50 (ms)")
    return Table(headings, tuple(rows)) if rows else None


def slices(cohort: Cohort) -> Table | None:
    """Quality by slice, a column each, under its number of items."""
    found = _named(cohort, "slices")
    names = sorted({name for _, named in found for name in named})
    if not names:
        return None

    def heading(name: str) -> str:
        counts = {int(n) for _, named in found if (n := number(named, name, "n")) is not None}
        return markdown(name, 40) + (f" (n {', '.join(map(str, sorted(counts)))})" if counts else "")

    rows = [
        (markdown(row.name), *(_two_decimals(number(named, name, "value")) for name in names)) for row, named in found
    ]
    return Table(("method", *map(heading, names)), tuple(rows))


def console(cohort: Cohort) -> Table:
    """The compact table for a terminal of 100 columns, the best baseline without a language model among its rows."""
    unit = memory_unit(measures.peak_memory(r) for r in cohort.records)
    headings = ("method", "quality", "training (s)", f"memory ({unit.name})", "latency (ms)")
    measured, ended = [], []
    for row in cohort.rows:
        record, quality = row.record, measures.quality(row.record)
        cells = (
            plain(row.name, 28),
            plain(quality_or_status(record) if record.status == "ok" else record.status, 24),
            *((_training_time(record), _memory(record, unit), _latency(record)) if quality else (MISSING,) * 3),
        )
        (measured.append((quality.value, cells)) if quality else ended.append(cells))
    for baseline in cohort.baselines[:1]:
        value = with_interval(baseline.estimate)
        measured.append((baseline.estimate.value, (plain(f"({baseline.name})", 28), value, *(MISSING,) * 3)))
    measured.sort(key=lambda pair: -pair[0])
    return Table(headings, (*(cells for _, cells in measured), *ended)).without_empty_columns()


def runs(cohort: Cohort) -> Table:
    """Which runs each row is, and where they lie."""
    several = len({run.root for run in cohort.runs}) > 1
    rows = [
        (
            markdown(row.name),
            str(run.record.seed),
            code(run.record.run_id),
            code((run.folder if several else run.folder.relative_to(run.root)).as_posix()),
        )
        for row in cohort.rows
        for run in row.runs
    ]
    return Table(("method", "seed", "run id", "folder"), tuple(rows))


def _named(cohort: Cohort, part: str) -> list[tuple[Row, dict[str, Any]]]:
    """`quality.metrics` or `quality.slices` of every run that has them."""
    parts = [(row, at(row.record.quality, part)) for row in _answered(cohort)]
    return [(row, named) for row, named in parts if isinstance(named, dict)]


def _answered(cohort: Cohort) -> list[Row]:
    return [row for row in cohort.rows if row.record.status == "ok"]


def _two_decimals(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{value:.0%}"


def _scientific(value: float | None) -> str:
    return MISSING if value is None else f"{value:.0e}"


def _change(part: dict[str, Any]) -> str:
    change = number(part, "change")
    return with_interval(Estimate(change, number(part, "low"), number(part, "high"))) if change is not None else MISSING
