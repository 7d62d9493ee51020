"""The command line: each command reads its arguments and calls the module that does the work.

Imports are inside the commands, so that `harness --help` and `harness list` answer at once.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness import __version__
from harness.errors import NotInstalled, UserError
from harness.installation import missing, require_run
from harness.sweep import silent_libraries

USAGE, NOTHING_FITS = 2, 3
MODEL = "smollm2-135m-q4"
app = typer.Typer(
    help="For this task, on this model, within this budget: prompt it, give it documents, or train it? Measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_RUN_EXAMPLES = """\
One run, or a Hydra sweep with -m.

\b
harness run task=ticket_routing method=lora rank=8
harness run -m task=ticket_routing method=lora,qlora rank=4,16 seed=0,1,2
harness run experiment=quickstart
harness run task=folder task.path=DIR method=rag_lora
harness run task=banking77 task.source.path=DIR method=zero_shot
"""
_ESTIMATE_EXAMPLES = """\
Predict memory by part, time and which GPUs fit, before you run anything. Loads no weights.

\b
harness estimate method=lora rank=8
harness estimate model=shape-llama2-7b method=full,lora,qlora,prefix
harness estimate model=shape-llama2-70b method=qlora --fit 48GB
harness estimate model=hub model.id=ORG/NAME method=qlora --tokens 2048
harness estimate experiment=memory_7b
"""
_CHECK_EXAMPLES = """\
Is the candidate no worse than the baseline? Exit code 0 no worse or better, 1 worse, 2 usage, 3 inconclusive,
4 not comparable.

\b
harness check --baseline results/main,method=lora --candidate results/branch,method=lora
harness check --run --baseline method=lora --candidate method=my_method experiment=gate
"""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(help=_RUN_EXAMPLES, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context, debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False
) -> None:
    require_run("harness run")
    from harness.sweep import launch

    raise typer.Exit(launch.main(context.args, debug=debug or "--debug" in sys.argv))


@app.command()
def report(
    results: Annotated[
        list[str] | None,
        typer.Argument(help="Results folders with filters: results/quickstart,method=lora"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the report; default: reports/NAME.")] = None,
    gpu_hour: Annotated[float | None, typer.Option(help="Price of the machine per hour, to show money.")] = None,
    requests_per_month: Annotated[float | None, typer.Option(help="Expected requests per month, for costs.")] = None,
    examples: Annotated[bool, typer.Option(help="Include items on which methods disagree, with their answers.")] = True,
) -> None:
    """Write tables and figures from results: markdown, one HTML page and CSV."""
    from harness.progress import Progress
    from harness.records.costs import Prices
    from harness.report import write_report
    from harness.report.console import next_steps

    progress = Progress("report")
    prices, step = Prices(gpu_hour, requests_per_month), progress.labelled("chapters")
    try:
        made = write_report(results or ["results"], out, prices, examples=examples, step=step)
    finally:
        progress.clear()
    print(made.table)
    print(f"\n{next_steps((results or ['results'])[0], made.page)}")


@app.command()
def demo() -> None:
    """Show what a small real comparison found, from its committed results. Runs no model, needs no torch."""
    from harness.report.demo import text

    print(text())


@app.command(help=_CHECK_EXAMPLES, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def check(
    context: typer.Context,
    baseline: Annotated[str, typer.Option(help="Results folder and filters; with --run, method=lora,rank=16.")],
    candidate: Annotated[str, typer.Option(help="The candidate, in the same form.")],
    run: Annotated[
        bool,
        typer.Option("--run", help="Make missing runs first; extra words are overrides."),
    ] = False,
    margins: Annotated[Path | None, typer.Option(help="YAML file with margins by metric and resource.")] = None,
    margin: Annotated[float | None, typer.Option(help="Margin of the primary metric; 0.02 is two points.")] = None,
    max_missing: Annotated[float, typer.Option(help="Share of items that may lack a score.")] = 0.01,
    markdown: Annotated[Path | None, typer.Option(help="Write the result as a comment for a pull request.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None,
    as_json: AsJson = False,
) -> None:
    from harness.check import check as select_and_compare
    from harness.check import compare, text
    from harness.check.margins import read_margins

    if run:
        require_run("harness check --run")
        silent_libraries.silence()
        from harness.sweep.for_check import fill

        with _only_json(as_json):
            made = fill(baseline, candidate, context.args, margin)
        allowed = read_margins(margins, None if margins and margin is None else made.plan.gate.margin)
        result = compare((baseline, made.baseline), (candidate, made.candidate), allowed, max_missing)
    elif context.args:
        raise UserError(f"{context.args[0]}: not known; overrides of runs go with --run.")
    else:
        result = select_and_compare(baseline, candidate, read_margins(margins, margin), max_missing)
    for path, render in ((markdown, text.as_markdown), (junit, text.as_junit)):
        if path:
            _write(path, render(result))
    print(text.as_json(result) if as_json else text.as_text(result))
    raise typer.Exit(result.exit_code)


@app.command()
def decide(
    results: Annotated[str, typer.Argument(help="Results folder and filters: results/reference,seed=0")] = "results",
    max_memory: Annotated[str | None, typer.Option(help="Memory for training and answering, such as 24GB.")] = None,
    max_latency: Annotated[str | None, typer.Option(help="Median latency of one request, such as 200ms.")] = None,
    max_training: Annotated[str | None, typer.Option(help="Training time with the search for a rate: 2h.")] = None,
    requests_per_month: Annotated[
        float | None,
        typer.Option(min=0, help="Expected requests per month, to compare machine time."),
    ] = None,
    gpu_hour: Annotated[float | None, typer.Option(min=0, help="Price of the machine per hour, to show money.")] = None,
    facts_change: Annotated[
        str, typer.Option(help="Facts change never | yearly | monthly | weekly | daily.")
    ] = "never",
    private: Annotated[bool, typer.Option(help="Rows must not be trained into weights.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the decision as markdown.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the decision as an HTML page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recommend a strategy for each task within your limits, and say why. Exit code 3 if nothing fits."""
    from harness.decide import Limits, text
    from harness.decide import decide as choose
    from harness.report.decision_page import as_html

    limits = Limits.typed(
        max_memory=max_memory,
        max_latency=max_latency,
        max_training=max_training,
        requests_per_month=requests_per_month,
        gpu_hour=gpu_hour,
        facts_change=facts_change,
        private=private,
    )
    decisions = choose(results, limits)
    for path, render in ((markdown, text.as_markdown), (html, as_html)):
        if path:
            _write(path, render(decisions, limits))
    print(
        json.dumps(text.as_data(decisions, limits), indent=2, allow_nan=False)
        if as_json
        else text.as_text(decisions, limits)
    )
    raise typer.Exit(0 if all(decision.strategy for decision in decisions) else NOTHING_FITS)


@app.command(help=_ESTIMATE_EXAMPLES, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def estimate(
    context: typer.Context,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of a training row and of a prompt.")] = 512,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 64,
    device: Annotated[str, typer.Option(help="cuda | cpu; default: cuda for model=shape-*, else this machine's.")] = "",
    fit: Annotated[str, typer.Option(help="Memory such as 24GB: find the largest batch, or what makes it fit.")] = "",
    as_json: AsJson = False,
) -> None:
    require_run("harness estimate")
    silent_libraries.silence()
    from harness import quantities
    from harness.estimate import fitting, prediction, text
    from harness.progress import Progress
    from harness.sweep.compose import compositions

    if device not in ("", "cuda", "cpu"):
        raise UserError(f"--device {device}: known are cuda and cpu.")
    words = [*_shape_defaults(context.args), *context.args]
    cells = compositions(words, device or None)
    if not device and any(cell.model.is_shape for cell in cells):
        cells = compositions(words, "cuda")
    request = prediction.Request(tokens, answer_tokens, device or None)
    progress = Progress("estimating")
    step = (lambda *_: None) if as_json else progress.step
    with _only_json(as_json):
        if fit:
            if len(cells) > 1:
                raise UserError("--fit looks at one cell; choose one method.")
            limit = int(quantities.memory("--fit", fit))
            made = fitting.fit(cells[0], request, limit, lambda what: step(what, 0, 0))
            progress.clear()
            estimates, verdict = [made.estimate], f"{fit}: {made.what}"
        else:
            estimates, verdict = [], ""
            for done, cell in enumerate(cells, start=1):
                estimates.append(prediction.estimate(cell, request))
                step("cells", done, len(cells))
            progress.clear()
    if as_json:
        data = [text.as_data(one) for one in estimates]
        if fit:
            data[0]["fit"] = {"limit_bytes": limit, "fits": made.fits, "how": made.what}
        print(json.dumps(data[0] if len(data) == 1 else data, indent=2))
    else:
        print(text.as_text(estimates[0]) if len(estimates) == 1 else text.as_table(estimates))
        if verdict:
            print(verdict)


def _shape_defaults(words: list[str]) -> list[str]:
    """A shape's defaults: one row at a time, with gradient checkpointing."""
    if not any(word.startswith("model=shape-") for word in words):
        return []
    return ["++training.batch_size=1", "++training.gradient_checkpointing=true", "measure.batch_size=1"]


@app.command()
def audit(
    task: Annotated[str, typer.Argument(help="A task's name, or its folder.")],
    source: Annotated[Path | None, typer.Option(help="Folder with a local copy of a public task's rows.")] = None,
    write_clean: Annotated[Path | None, typer.Option(help="Folder for a copy without duplicates.")] = None,
    model: Annotated[str, typer.Option(help="Model whose tokens are counted; a file of conf/model/.")] = MODEL,
    as_json: AsJson = False,
) -> None:
    """Check a task's data before you spend money on it. Exit code 1 if it has a defect."""
    silent_libraries.silence()
    from harness import audit as examine
    from harness.progress import Progress
    from harness.settings import task_folder

    folder = Path(task) if Path(task).is_dir() else task_folder(task, None)
    progress = Progress(f"auditing {folder.name}")
    step = progress.step if not as_json else lambda *_: None
    with _only_json(as_json):
        if missing():
            result = examine.audit(folder, source, step=step, by_meaning=False)
        else:
            silent_libraries.silence_bars()
            tokenizer, window = examine.model_window(model)
            result = examine.audit(folder, source, tokenizer, window, step)
        progress.clear()
        if write_clean:
            examine.write_clean(source or folder, result, write_clean)
    print(json.dumps(result.as_data(), indent=2) if as_json else examine.as_text(result))
    raise typer.Exit(1 if result.defects else 0)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="tasks | methods | models | experiments; all if not given")] = "",
    as_json: AsJson = False,
) -> None:
    """List tasks, methods, models and experiments."""
    from harness.catalogue import KINDS

    if kind and kind not in KINDS:
        raise UserError(f"harness list {kind}: known are {', '.join(KINDS)}.")
    groups = {name: entries() for name, entries in KINDS.items() if kind in ("", name)}
    if as_json:
        print(json.dumps({name: [entry._asdict() for entry in entries] for name, entries in groups.items()}, indent=2))
        return
    for name, entries in groups.items():
        print(f"{name}")
        for entry in entries:
            print(f"  {entry.name:18} {entry.about}")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show the device and versions, what can run here, and what to install."""
    from dataclasses import asdict

    from harness.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding, below in zip(findings, [*findings[1:], None], strict=True):
            print(f"{'ok' if finding.ok else 'NO':3} {finding.what:26} {finding.detail}")
            repeated = below is not None and not below.ok and below.remedy == finding.remedy
            if not finding.ok and not repeated:
                print(f"    {'':26} -> {finding.remedy}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def _only_json(as_json: bool) -> contextlib.AbstractContextManager[object]:
    """Send notes that are printed meanwhile to standard error, so that standard output is JSON and nothing else."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


def _write(path: Path, text: str) -> None:
    """UserError if the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as cause:
        raise UserError(f"{path}: cannot be written: {cause.strerror}.") from cause


@app.callback(invoke_without_command=True)
def front(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a user's mistake, or `[run]` missing, is a line on standard error and exit code 2."""
    try:
        app()
    except (UserError, NotInstalled) as mistake:
        if "--debug" in sys.argv:
            raise
        print(mistake if isinstance(mistake, NotInstalled) else f"harness: {mistake}", file=sys.stderr)
        sys.exit(USAGE)
