"""report.md: what was found, the tables and figures it rests on, and where each number comes from.

The page holds no date of its own making: the same records give the same page, and a committed report has
quiet diffs.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from harness.catalogue import experiments
from harness.records import Record
from harness.report import answer, choice, comparisons, cost, disagreements, measures, predictions, tables, twins
from harness.report.cohorts import Cohort, Row, flatten
from harness.report.comparisons import Comparisons
from harness.report.cost import Prices
from harness.report.escaping import code, markdown, plain
from harness.report.figures import Drawing
from harness.report.measures import at
from harness.report.tables import CONTAMINATED, SHARED, Table
from harness.report.units import with_interval

QUANTISED = "smollm2-135m-q4"
QUANTISED_REMARK = (
    f"Most of the weights of {QUANTISED} are dequantised Q4_1. On it no conclusion on LoRA against QLoRA "
    "quality and no comparison with published scores is drawn."
)
EXPLORATORY = (
    "Methods are chosen on the validation split and the test split estimates the choice once; the tables "
    "over all cells are exploratory, and the highest test value in a table is not the choice."
)
MEMORY = {
    "rss": "resident memory of the process, on a CPU (peak less what it was after imports)",
    "cuda": "GPU memory",
}


@dataclass(frozen=True)
class Chapter:
    """A cohort, the figures drawn of it, and which of its methods differ."""

    cohort: Cohort
    drawings: list[Drawing]
    comparisons: Comparisons


def render(
    chapters: list[Chapter], folder: Path, prices: Prices, left_out: Sequence[str] = (), *, examples: bool = True
) -> str:
    cohorts = [chapter.cohort for chapter in chapters]
    blocks = [f"# Report on {markdown(folder.resolve().name)}", *opening(chapters), EXPLORATORY]
    if left_out:
        blocks.append("\n".join(f"- left out: {markdown(said, 400)}" for said in left_out))
    if any(cohort.key.model == QUANTISED for cohort in cohorts):
        blocks.append(QUANTISED_REMARK)
    for task, of_task in groupby(chapters, key=lambda chapter: chapter.cohort.key.task):
        blocks.append(f"## {markdown(task)}")
        for chapter in of_task:
            blocks += section(chapter, prices, examples=examples)
    blocks += twins.section(cohorts)
    blocks += provenance(cohorts, folder)
    return "\n\n".join(blocks) + "\n"


def opening(chapters: list[Chapter]) -> Iterator[str]:
    """The answer for each task and model, from its cohort with the most items."""
    models = {(c.cohort.key.task, c.cohort.key.model) for c in chapters}
    for (task, model), group in groupby(chapters, key=lambda c: (c.cohort.key.task, c.cohort.key.model)):
        of_model = list(group)
        headline = max(of_model, key=lambda c: (c.cohort.key.items or 0, len(c.cohort.rows)))
        several = sum(known == task for known, _ in models) > 1
        where = f"**{markdown(task)}**" + (f" on {markdown(model)}" if several else "")
        others = len(of_model) - 1
        also = f" {others} smaller or other cohort{'s' * (others > 1)} below." if others else ""
        yield f"{where}: {answer.sentence(headline.cohort, headline.comparisons)}{also}"


def section(chapter: Chapter, prices: Prices, *, examples: bool) -> Iterator[str]:
    """One cohort: the table of methods, its notes, the figures, the smaller tables."""
    cohort = chapter.cohort
    yield f"### {heading(cohort)}"
    yield tables.methods(cohort).markdown()
    yield "\n".join(f"- {note}" for note in notes(cohort))
    for drawing in chapter.drawings:
        yield f"![{markdown(drawing.description)}]({drawing.path})"
    chosen = choice.choose(cohort)
    name = chosen.row.name if chosen else None
    yield from comparisons.section(chapter.comparisons, cohort, name)
    yield from disagreements.section(chapter.comparisons, name, examples=examples)
    for title, table in (
        ("Other metrics", tables.secondary_metrics(cohort)),
        ("Retrieval", tables.retrieval(cohort)),
        ("Slices", tables.slices(cohort)),
        ("Retention", tables.retention(cohort)),
        ("Latency (ms)", tables.latencies(cohort)),
        ("Where the time went (s)", tables.times(cohort)),
        ("Training memory, predicted and measured", tables.predicted_memory(cohort)),
    ):
        if table:
            yield f"#### {title}"
            yield table.markdown()
    yield from cost.section(cohort, prices)
    yield from predictions.section(cohort)


def heading(cohort: Cohort) -> str:
    key = cohort.key
    where = f" on {markdown(key.device)}" if key.device else ""
    items = f"{key.items:,} test items" if key.items else "no item answered"
    data = f", data {markdown(key.data[:8])}" if key.data else ""
    return f"{markdown(key.model)}{where}, {items}{data}"


def notes(cohort: Cohort) -> Iterator[str]:
    """What the reader of the table has to know, and only where it applies."""
    records = cohort.records
    yield (
        f"Quality is {markdown(cohort.metric)} on the test split with its 95 % interval, the unit being items, or what "
        "several items share (a template, a document); " + ("rows are sorted by it, runs that are not ok come last.")
    )
    if cohort.metric == "accuracy":
        yield "The answer is the likeliest of the choices; `accuracy_generated` below is what the model says freely."
    kinds = sorted({kind for r in records if (kind := measures.memory_kind(r))})
    if kinds:
        said = "; ".join(MEMORY.get(kind, markdown(kind)) for kind in kinds)
        yield f"Peak memory: {said}; the highest of loading, training and answering."
    if any(measures.latency(r) is not None for r in records):
        yield "Latency: one request at a time, answer included; merged: the adapter merged into the weights."
        if cohort.metric == "accuracy":
            yield "A choice takes longer the longer the label chosen, so latency is not the method's alone."
    if any(measures.number(r.inference, "prompt_tokens") is not None for r in records):
        yield "Prompt tokens: the mean of an item."
    yield from _training_notes(records)
    yield from _caveats(cohort)


def _training_notes(records: list[Record]) -> Iterator[str]:
    rates = [r for r in records if measures.number(r.training, "learning_rate") is not None]
    if any(measures.tries(r) > 1 for r in rates):
        yield "Learning rate: `of n` is the best of n tried on validation; without it, it was not tuned."
    elif rates:
        yield "The learning rate was not tuned: each is the only one tried."
    if any(at(r.training, "shared") is True for r in records):
        yield f"{SHARED} training cost copied from the run that trained these weights."


def _caveats(cohort: Cohort) -> Iterator[str]:
    records = cohort.records
    disturbed = sorted(
        {f"{figure}: {remark}" for r in records for figure, some in measures.contaminated(r).items() for remark in some}
    )
    if disturbed:
        yield f"{CONTAMINATED} contaminated ({markdown('; '.join(disturbed))})."
    if any(r.context in choice.NOT_CHOSEN for r in records):
        yield "oracle is shown the gold passage: an upper bound, never the choice."
    devices = sorted({str(d) for r in records if (d := at(r.environment, "device"))})
    if len(devices) > 1:
        yield f"Times and memory come from several devices: {markdown(', '.join(devices))}."
    for baseline in cohort.other_baselines:
        yield f"{markdown(baseline.name)} (no model) was computed on {baseline.n:,} items and is left out."
    for status, count in Counter(r.status for r in records if r.status != "ok").items():
        yield f"{count} of {len(cohort.runs)} runs {'is' if count == 1 else 'are'} {markdown(status)}."


def tips(chapters: list[Chapter]) -> dict[str, str]:
    """By run id, what a point of a figure says of its run."""
    return {row.record.run_id: _tip(chapter.cohort, row) for chapter in chapters for row in chapter.cohort.rows}


def _tip(cohort: Cohort, row: Row) -> str:
    record = row.record
    seconds, latency = measures.number(record.training, "seconds"), measures.latency(record)
    memory = measures.peak_memory(record)
    said = [
        row.name,
        f"{cohort.metric} {with_interval(measures.quality(record))}",
        *([f"peak memory {memory / 2**20:,.0f} MiB"] if memory else []),
        *([f"training {seconds:,.0f} s"] if seconds else []),
        *([f"latency {latency:,.0f} ms"] if latency else []),
        *(f"run {run.record.run_id}" for run in row.runs),
    ]
    return "\n".join(plain(line) for line in said)


def provenance(cohorts: list[Cohort], folder: Path) -> Iterator[str]:
    records = [run.record for cohort in cohorts for run in cohort.runs]
    yield "## Provenance"
    yield environment(records).markdown()
    for cohort in cohorts:
        yield f"#### {markdown(cohort.key.task)}: {heading(cohort)}"
        yield tables.runs(cohort, folder).markdown()
        yield commands(cohort).markdown()
    yield "Everything above as a spreadsheet: [records.csv](records.csv); as a page to ask: [report.html](report.html)."


def environment(records: list[Record]) -> Table:
    """Versions, commit, device, data and dates; where runs differ, each value with its number of runs."""
    seen: dict[str, Counter[str]] = {}
    for record in records:
        for what, value in _facts(record):
            seen.setdefault(what, Counter())[value] += 1
    rows = [
        (
            markdown(what),
            ", ".join(f"{code(v)} ({n} runs)" if len(values) > 1 else code(v) for v, n in values.items()),
        )
        for what, values in seen.items()
    ]
    started = sorted(str(at(r.environment, "started_at")) for r in records if at(r.environment, "started_at"))
    finished = sorted(str(at(r.environment, "finished_at")) for r in records if at(r.environment, "finished_at"))
    if started:
        rows.append(("when", f"{code(started[0])} to {code((finished or started)[-1])}"))
    return Table(("what", "value"), tuple(rows))


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    env = record.environment or {}
    if env.get("commit"):
        dirty = " (dirty)" if env.get("dirty") else ""
        yield "commit", f"{env['commit']}{dirty}"
    for name in ("device", "python"):
        if env.get(name):
            yield name, str(env[name])
    size = measures.number(env, "device_memory_bytes")
    if size:
        yield "device memory", f"{size / 2**30:.1f} GiB"
    if measures.data_hash(record):
        yield f"data of {record.task} (sha256)", str(measures.data_hash(record))
    packages = env.get("packages")
    for name, version in packages.items() if isinstance(packages, dict) else ():
        yield str(name), str(version)


def commands(cohort: Cohort) -> Table:
    rows = [(markdown(row.name), code(command(run.record, row))) for row in cohort.rows for run in row.runs]
    return Table(("method", "command"), tuple(rows))


def command(record: Record, row: Row) -> str:
    """What to type to make this run again: what was typed, or from its configuration where a record does not say."""
    words = [word for word in record.overrides if not word.startswith("results=")] or _from_configuration(record, row)
    return "harness run " + " ".join(map(shlex.quote, words))


def _from_configuration(record: Record, row: Row) -> list[str]:
    """The cell's experiment, names and limits, and the settings in which it differs from others of its name."""
    values = dict(flatten(record.config))
    known = record.experiment in {entry.name for entry in experiments()}
    words = {"experiment": record.experiment} if known else {}
    words |= {"task": record.task, "model": record.model, "method": record.method}
    if record.rank is not None:
        words["rank"] = str(record.rank)
    words["seed"] = str(record.seed)
    limits = ("max_train_examples", "max_eval_examples", "max_validation_examples", "training.epochs")
    words |= {name: values[name] for name in limits if values.get(name, "null") != "null"}
    return [f"{name}={value}" for name, value in {**words, **row.variant}.items()]
