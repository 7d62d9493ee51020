"""The tables of a cohort: rows of finished text, rendered as markdown or as plain columns.

A run that is not ok keeps its row and says what it was; it is never a zero and never missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.records import measures, seeds
from harness.records.baselines import Baseline
from harness.records.cohorts import Cohort, Row
from harness.records.measures import median
from harness.records.record import Change, Failure, Merged, Quality, Record, Training
from harness.stats import Estimate
from harness.text import MISSING, Table, Unit, code, count, markdown, memory_unit, plain, short, with_interval

SHARED, CONTAMINATED = "†", "‡"


@dataclass(frozen=True)
class Column:
    heading: str
    show: Callable[[Row], str]


def methods(cohort: Cohort) -> Table:
    """The main table of a cohort: quality and cost of each method, without empty columns."""
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
        Column("prompt tokens", lambda row: count(row.record.inference and row.record.inference.prompt_tokens)),
        Column("learning rate", learning_rate),
        *([Column("seeds (sd)", _seeds)] if several_seeds else []),
    ]


def _memory_columns(cohort: Cohort, unit: Unit) -> list[Column]:
    """The peak of all phases, and of training and of answering apart if some run has both."""
    both = any(r.memory and r.memory.train and measures.inference_memory(r) is not None for r in cohort.records)
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
        error = record.error or Failure()
        return ": ".join(part for part in (record.status, error.type, error.message) if part)
    estimate = measures.quality(record)
    return with_interval(estimate) if estimate else "ok, but no quality was recorded"


def _scored(record: Record) -> str:
    quality = record.quality or Quality()
    return count(quality.n) + (f" ({count(quality.unscored)} unscored)" if quality.unscored else "")


def _three_decimals(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def _training_time(record: Record) -> str:
    seconds = record.training and record.training.seconds
    mark = f" {SHARED}" if (record.training and record.training.shared) is True else ""
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
    return count(record.training and record.training.trainable_parameters)


def learning_rate(row: Row) -> str:
    """`0.0003 of 3`: the value, and of how many tried on validation it is the best; seeds may have chosen several."""
    rates = dict.fromkeys((run.record.training and run.record.training.learning_rate) for run in row.runs)
    values = ", ".join(f"{rate:g}" for rate in rates if rate is not None)
    tries = max(measures.tries(run.record) for run in row.runs)
    return (values or MISSING) + (f" of {tries}" if values and tries > 1 else "")


def _seeds(row: Row) -> str:
    """`3 (0.012)`: how many, and the standard deviation of their test values."""
    spread = seeds.spread([run.record for run in row.runs])
    return str(len(row.runs)) + (f" ({spread:.3f})" if spread is not None else "")


def secondary_metrics(cohort: Cohort) -> Table | None:
    """Every other metric that was recorded, a column each."""
    measured = [(row, quality.metrics) for row in _answered(cohort) if (quality := row.record.quality)]
    names = list(dict.fromkeys(name for _, named in measured for name in named if name != cohort.metric))
    if not names:
        return None
    rows = [(markdown(row.name), *(_three_decimals(named.get(name)) for name in names)) for row, named in measured]
    return Table(("method", *(markdown(n, 40) for n in names)), tuple(rows)).without_empty_columns()


def retrieval(cohort: Cohort) -> Table | None:
    rows = [
        (
            markdown(row.name),
            count(part.k),
            _three_decimals(part.recall),
            _three_decimals(part.mrr),
            _three_decimals(part.ndcg),
            short(part.index_seconds),
            short(median(part.latency_ms)),
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
    """Forgetting: the same model before and after training, on general skills."""
    rows = [
        (
            markdown(row.name),
            markdown(skill),
            _three_decimals(part.before),
            _three_decimals(part.after),
            _change(part),
            count(part.n),
        )
        for row in _answered(cohort)
        if (whole := row.record.retention)
        for skill, part in (whole.parts or {whole.metric or MISSING: whole}).items()
    ]
    return (
        Table(("method", "what", "before", "after", "change", "n"), tuple(rows)).without_empty_columns()
        if rows
        else None
    )


def latencies(cohort: Cohort) -> Table | None:
    """Single requests: whole, to the first token, each further one; with the task's own end and a fixed length."""
    timed = [(row, i, i.latency_ms) for row in _answered(cohort) if (i := row.record.inference) and i.latency_ms]
    with_requests = [(row, inference, whole) for row, inference, whole in timed if whole.p99 is not None]
    lengths = {int(i.fixed.tokens) for _, i, _ in with_requests if i.fixed and i.fixed.tokens is not None}
    fixed = "answer of " + ", ".join(map(str, sorted(lengths))) + " tokens"
    rows = [
        (
            markdown(row.name),
            *map(short, (whole.p50, whole.p95, whole.p99)),
            _percent(whole.spread),
            short(median(inference.first_token_ms)),
            short(median(inference.per_token_ms)),
            short(median(inference.fixed and inference.fixed.latency_ms)),
            short(median(inference.fixed and inference.fixed.per_token_ms)),
            short(median(inference.prefix_cached and inference.prefix_cached.latency_ms)),
            short(median(merged.latency_ms)),
            short(median(merged.fixed and merged.fixed.latency_ms)),
            _scientific(merged.largest_logit_difference),
        )
        for row, inference, whole in with_requests
        for merged in [inference.merged or Merged()]
    ]
    headings = (
        "method", "p50", "p95", "p99", "spread", "first token p50", "each further token p50", f"{fixed} p50",
        "each of its tokens p50", "shared prefix cached p50", "merged p50", "merged, same length, p50",
        "largest logit difference",
    )  # fmt: skip
    return Table(headings, tuple(rows)).without_empty_columns() if rows else None


def times(cohort: Cohort) -> Table | None:
    """How each run spent its seconds, without empty parts; the last columns show what the first step adds."""
    spent = [(row, row.record.seconds) for row in _answered(cohort) if row.record.seconds]
    names = list(dict.fromkeys(name for _, parts in spent for name, value in parts.items() if value >= 0.01))
    rows = [
        (markdown(row.name), *(short(parts.get(name) or None) for name in names), *_steps(row.record.training))
        for row, parts in spent
    ]
    headings = ("method", *names, "first training step", "all steps at their median")
    return Table(headings, tuple(rows)).without_empty_columns() if rows else None


def _steps(training: Training | None) -> tuple[str, str]:
    """Seconds of the first step, and of training if each step took the median."""
    if training is None or training.first_step_ms is None:
        return MISSING, MISSING
    typical, steps = median(training.step_ms), training.steps
    return short(training.first_step_ms / 1000), short(typical * steps / 1000 if typical and steps else None)


def predicted_memory(cohort: Cohort) -> Table | None:
    """The peak of training that `harness estimate` predicted for the longest rows, beside what was measured."""
    rows = []
    for row in _answered(cohort):
        training, measured = row.record.training, measures.training_memory(row.record)
        if training and training.estimated and measured:
            predicted, tokens = training.estimated.train_peak_bytes, training.estimated.tokens
            step = short(median(training.step_ms))
            unit = memory_unit([predicted, measured])
            sizes = (f"{unit.show(predicted)} {unit.name}", f"{unit.show(measured)} {unit.name}")
            rows.append((markdown(row.name), count(tokens), *sizes, f"{predicted / measured:.2f}", step))
    headings = ("method", "tokens of a row", "predicted", "measured", "predicted / measured", "step p50 (ms)")
    return Table(headings, tuple(rows)) if rows else None


def slices(cohort: Cohort) -> Table | None:
    """Quality by slice, a column each, under its number of items."""
    measured = [(row, quality.slices) for row in _answered(cohort) if (quality := row.record.quality)]
    names = sorted({name for _, named in measured for name in named})
    if not names:
        return None

    def heading(name: str) -> str:
        counts = {int(n) for _, named in measured if name in named and (n := named[name].n) is not None}
        return markdown(name, 40) + (f" (n {', '.join(map(str, sorted(counts)))})" if counts else "")

    rows = [
        (markdown(row.name), *(_two_decimals(named[name].value if name in named else None) for name in names))
        for row, named in measured
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
    """Which runs each row is, and where it is."""
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


def _answered(cohort: Cohort) -> list[Row]:
    return [row for row in cohort.rows if row.record.status == "ok"]


def _two_decimals(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{value:.0%}"


def _scientific(value: float | None) -> str:
    return MISSING if value is None else f"{value:.0e}"


def _change(part: Change) -> str:
    return with_interval(None if part.change is None else Estimate(part.change, part.low, part.high))
