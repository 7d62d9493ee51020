"""A chapter: everything a report says about one cohort, kept so that it is not rebuilt while its runs are unchanged.

Chapters are kept in the user's cache under a name made of the files they come from, of what was asked and of the code
that writes them.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec

from harness import catalogue, decide, files, records, stats, text
from harness.catalogue import experiments
from harness.decide import regret
from harness.decide.choose import NOT_CHOSEN, Strategy, recommend
from harness.records import measures, scores
from harness.records.baselines import Baseline
from harness.records.cohorts import Cohort, Row, assemble
from harness.records.costs import Prices
from harness.records.index import Header, Key
from harness.records.reading import flatten
from harness.records.record import Record
from harness.report import (
    comparisons,
    console,
    cost_table,
    disagreements,
    html,
    predicted_order,
    public_twins,
    summary,
    tables,
)
from harness.report.comparisons import Comparisons
from harness.report.drawing import Drawing
from harness.report.spreadsheet import Sheet
from harness.report.tables import CONTAMINATED, SHARED
from harness.text import Table, code, markdown, plain, with_interval

MEMORY = {
    "rss": "resident memory of the process, on a CPU (peak less what it was after imports)",
    "cuda": "GPU memory",
    "process": "GPU memory of the process, by the driver",
    "device": "GPU memory in use more than before the run, by the driver",
    "reserved": "GPU memory that torch's allocator held, without the CUDA context",
}


@dataclass(frozen=True)
class Options:
    """Options of a report."""

    prices: Prices
    examples: bool


@dataclass(frozen=True)
class Chapter:
    """A cohort's text, figures and rows of the spreadsheet."""

    key: Key
    runs: int
    dequantised: bool
    """Whether the model's weights come from a quantised file."""
    answer: str
    """In a sentence or two."""
    text: str
    html: str
    origins: str
    """Which runs it rests on and the command that makes each."""
    origins_html: str
    console: str
    """The table for a terminal."""
    pictures: dict[str, str]
    """SVG by the file's name."""
    sheet: Sheet
    """Its lines of the spreadsheet."""
    facts: list[tuple[str, str, int]]
    """Versions, devices, data: what, which, of how many runs."""
    times: list[str]
    """When the first run began and the last one ended."""
    values: dict[str, float]
    """Quality by row."""
    regret: dict[str, list[float]]
    """By rule of choosing: share of draws with little regret, and its mean."""


@dataclass(frozen=True)
class Order:
    """What a chapter is made of."""

    key: Key
    headers: list[Header]
    baselines: list[Baseline]
    options: Options

    @property
    def name(self) -> str:
        """A cache key of everything that can change the chapter."""
        parts = [
            self.key,
            [(header.folder, str(header.root), header.stamp) for header in self.headers],
            [(b.name, b.task, b.data, b.n, b.estimate.value) for b in self.baselines],
            self.options,
            _source(),
        ]
        return sha256(msgspec.json.encode(parts)).hexdigest()[:24]


@cache
def _source() -> str:
    folders = (Path(str(module.__file__)).parent for module in (html, decide, records, stats))
    modules = (Path(str(module.__file__)) for module in (catalogue, files, text))
    sources = sorted([*(file for folder in folders for file in folder.rglob("*.*")), *modules])
    return sha256(b"".join(file.read_bytes() for file in sources if file.suffix in (".py", ".js", ".css"))).hexdigest()


def write(order: Order) -> Chapter:
    """Read the runs and write their chapter."""
    from harness.report.figures import draw_figures  # matplotlib takes a second to load

    cohort = assemble(order.key, [header.read() for header in order.headers], order.baselines)
    drawings = draw_figures(cohort, order.options.prices)
    compared, chosen = Comparisons.of(cohort), recommend(cohort)
    text = "\n\n".join(section(cohort, drawings, compared, chosen, order.options))
    origins = "\n\n".join(_origins(cohort))
    return Chapter(
        key=order.key,
        runs=len(cohort.runs),
        dequantised=any(measures.dequantised(record) for record in cohort.records),
        answer=summary.sentence(cohort, compared, chosen),
        text=text,
        html=html.fragment(text, drawings, {row.record.run_id: _tip(cohort, row) for row in cohort.rows}),
        origins=origins,
        origins_html=html.fragment(origins),
        console=console.render(cohort, compared),
        pictures={drawing.name: drawing.svg for drawing in drawings},
        sheet=Sheet.of(cohort.runs),
        facts=[(what, value, runs) for (what, value), runs in Counter(_every_fact(cohort)).items()],
        times=_times(cohort),
        values=public_twins.values(cohort),
        regret={rule: list(pair) for rule, pair in regret.of_task(cohort).items()},
    )


def section(
    cohort: Cohort, drawings: Sequence[Drawing], compared: Comparisons, chosen: Strategy | None, options: Options
) -> Iterator[str]:
    """The table of methods, its notes, the figures, the smaller tables."""
    yield f"### {heading(cohort.key)}"
    yield tables.methods(cohort).markdown()
    yield "\n".join(f"- {note}" for note in notes(cohort))
    for drawing in drawings:
        yield f"![{markdown(drawing.description)}](figures/{drawing.name})"
    name = chosen.row.name if chosen else None
    yield from comparisons.section(compared, cohort, name)
    yield from disagreements.section(compared, name, examples=options.examples)
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
    yield from cost_table.section(cohort, options.prices)
    yield from predicted_order.section(cohort)


def heading(key: Key) -> str:
    """`smollm2-135m-q4 on cpu, 150 test items, data 3f9a0c00`"""
    device = f" on {markdown(key.device)}" if key.device else ""
    items = f"{key.items:,} test items" if key.items else "no item answered"
    data = f", data {markdown(key.data[:8])}" if key.data else ""
    return f"{markdown(key.model)}{device}, {items}{data}"


def notes(cohort: Cohort) -> Iterator[str]:
    """Notes below the table, each only if it applies."""
    records = cohort.records
    yield (
        f"Quality is {markdown(cohort.metric)} on the test split with its 95 % interval; the sampling unit "
        f"is {_unit(cohort)}. Rows are sorted by quality; runs that did not finish come last."
    )
    if cohort.metric == "accuracy":
        yield "The answer is the likeliest of the choices; `accuracy_generated` below is what the model says freely."
    if precisions := _precisions(cohort):
        yield f"Precision: {precisions}."
    kinds = sorted({kind for r in records if (kind := measures.memory_kind(r))})
    if kinds:
        meanings = "; ".join(MEMORY.get(kind, markdown(kind)) for kind in kinds)
        yield f"Peak memory: {meanings}; the highest of loading, training and answering."
    if any(measures.latency(r) is not None for r in records):
        yield (
            "Latency: one request at a time, answer included; merged: the adapter merged into the weights. "
            "A longer answer takes longer, so latency depends on the answers too."
        )
    if any((r.inference and r.inference.prompt_tokens) is not None for r in records):
        yield "Prompt tokens: mean per item."
    yield from _training_notes(records)
    yield from _caveats(cohort)


def _precisions(cohort: Cohort) -> str:
    """`float32; qlora r8: 4-bit nf4, float32`: the commonest first, then what differs from it."""
    by_method = {row.name: name for row in cohort.rows if (name := measures.precision(row.record.config))}
    (common, _), *others = Counter(by_method.values()).most_common() or [("", 0)]
    differing = [
        f"{markdown(', '.join(method for method, name in by_method.items() if name == other))}: {other}"
        for other, _ in others
    ]
    return "; ".join([common, *differing])


def _unit(cohort: Cohort) -> str:
    """The sampling unit: items, or clusters of them."""
    answers = next((read for run in cohort.runs if (read := scores.read(run))), None)
    if answers is None:
        return "the item or the cluster"
    if answers.units == len(answers.ids):
        return "the item"
    counts = f"{answers.units:,} clusters, {len(answers.ids):,} items"
    return f"the cluster (items that share a template or a document): {counts}"


def _training_notes(records: list[Record]) -> Iterator[str]:
    rates = [r for r in records if (r.training and r.training.learning_rate) is not None]
    if any(measures.tries(r) > 1 for r in rates):
        yield "Learning rate: `of n` is the best of n tried on validation; without it, it was not tuned."
        prompted = [r for r in records if not r.training and measures.quality(r) and r.context not in NOT_CHOSEN]
        prompts = Counter(r.method for r in prompted)
        once = [method for method, rows in prompts.items() if rows == 1 and method != measures.UNTRAINED]
        if once:
            yield f"Tried in one form only: {markdown(', '.join(once))}."
    elif rates:
        yield "The learning rate was not tuned: each is the only one tried."
    if any((r.training and r.training.shared) is True for r in records):
        yield f"{SHARED} training cost copied from the run that trained these weights."


def _caveats(cohort: Cohort) -> Iterator[str]:
    records = cohort.records
    disturbed = sorted(
        {
            f"{figure}: {remark}"
            for r in records
            for figure, remarks in measures.contaminated(r).items()
            for remark in remarks
        }
    )
    if disturbed:
        yield f"{CONTAMINATED} contaminated ({markdown('; '.join(disturbed))})."
    if any(r.context in NOT_CHOSEN for r in records):
        yield "oracle is shown the gold passage: an upper bound, never the choice."
    devices = sorted({d for r in records if (d := measures.hardware(r))})
    if len(devices) > 1:
        yield f"Times and memory come from several devices: {markdown(', '.join(devices))}."
    if elsewhere := sorted({d for run in cohort.runs if (d := measures.hardware(run.record))} - set(devices)):
        yield f"Some seeds were run on {markdown(', '.join(elsewhere))}: of those only the quality is used."
    for baseline in cohort.other_baselines:
        yield f"{markdown(baseline.name)} (no language model) was computed on {baseline.n:,} items and is left out."
    for status, count in Counter(r.status for r in records if r.status != "ok").items():
        yield f"{count} of {len(cohort.runs)} runs {'is' if count == 1 else 'are'} {markdown(status)}."


def _tip(cohort: Cohort, row: Row) -> str:
    record = row.record
    seconds, latency = (record.training and record.training.seconds), measures.latency(record)
    memory = measures.peak_memory(record)
    lines = [
        row.name,
        f"{cohort.metric} {with_interval(measures.quality(record))}",
        *([f"peak memory {memory / 2**20:,.0f} MiB"] if memory else []),
        *([f"training {seconds:,.0f} s"] if seconds else []),
        *([f"latency {latency:,.0f} ms"] if latency else []),
        *(f"run {run.record.run_id}" for run in row.runs),
    ]
    return "\n".join(plain(line) for line in lines)


def _origins(cohort: Cohort) -> Iterator[str]:
    yield f"#### {markdown(cohort.key.task)}: {heading(cohort.key)}"
    yield tables.runs(cohort).markdown()
    yield commands(cohort).markdown()


def _times(cohort: Cohort) -> list[str]:
    environments = [run.record.environment for run in cohort.runs]
    known = [when for env in environments for when in (env.started_at, env.finished_at) if when]
    return [min(known), max(known)] if known else []


def _every_fact(cohort: Cohort) -> Iterator[tuple[str, str]]:
    for run in cohort.runs:
        yield from _facts(run.record)


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    env = record.environment
    if env.commit:
        yield "commit", env.commit + (" (dirty)" if env.dirty else "")
    if device := measures.hardware(record):
        yield "device", device
    if env.python:
        yield "python", env.python
    if env.device_memory_bytes:
        yield "device memory", f"{env.device_memory_bytes / 2**30:.1f} GiB"
    if env.data_sha256:
        yield f"data of {record.task} (sha256)", env.data_sha256
    yield from env.packages.items()


def commands(cohort: Cohort) -> Table:
    rows = [(markdown(row.name), code(command(run.record, row))) for row in cohort.rows for run in row.runs]
    return Table(("method", "command"), tuple(rows))


def command(record: Record, row: Row) -> str:
    """The command that repeats a run: as it was typed, or rebuilt from its configuration."""
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
