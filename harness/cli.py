"""The command line: each command reads its arguments and calls the module that does the work.

Imports are inside the commands, so that `harness --help` and `harness list` answer at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness import __version__
from harness.errors import UserError

USAGE = 2
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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(help=_RUN_EXAMPLES, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context, debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False
) -> None:
    from harness import sweep

    raise typer.Exit(sweep.main(context.args, debug=debug or "--debug" in sys.argv))


@app.command()
def report(
    results: Annotated[str, typer.Argument(help="A folder and filters: results/quickstart,method=lora")] = "results",
    out: Annotated[Path | None, typer.Option(help="Folder to write; reports/NAME if not given.")] = None,
) -> None:
    """Tables and figures from results, as markdown and CSV."""
    from harness.report import terminal_table, write_report

    path = write_report(results, out)
    print(terminal_table(results))
    print(f"report: {path}")


@app.command()
def audit(
    task: Annotated[str, typer.Argument(help="A task's name, or its folder.")],
    source: Annotated[Path | None, typer.Option(help="A local copy of the rows of a public task.")] = None,
    write_clean: Annotated[Path | None, typer.Option(help="Write a copy without repeated rows to this folder.")] = None,
    model: Annotated[str, typer.Option(help="Whose tokens lengths are counted in; a file of conf/model/.")] = MODEL,
    as_json: AsJson = False,
) -> None:
    """What is wrong with a task's data, before money is spent on it. Exit code 1 where there is a defect."""
    from harness import quiet  # isort: skip  (before the libraries)

    from harness import audit as examine
    from harness.progress import Progress
    from harness.settings import task_folder

    folder = Path(task) if Path(task).is_dir() else task_folder(task, None)
    progress = Progress(f"auditing {folder.name}")
    quiet.silence_bars()
    tokenizer, window = examine.model_window(model)
    found = examine.audit(folder, source, tokenizer, window, progress.step if not as_json else lambda *_: None)
    progress.clear()
    if write_clean:
        examine.write_clean(source or folder, found, write_clean)
    print(json.dumps(found.as_data(), indent=2) if as_json else examine.as_text(found))
    raise typer.Exit(1 if found.defects else 0)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="tasks | methods | models | experiments; all if not given")] = "",
    as_json: AsJson = False,
) -> None:
    """What there is, a line each."""
    from harness.catalogue import KINDS

    if kind and kind not in KINDS:
        raise UserError(f"harness list {kind}: known are {', '.join(KINDS)}.")
    found = {name: entries() for name, entries in KINDS.items() if kind in ("", name)}
    if as_json:
        print(json.dumps({name: [entry._asdict() for entry in entries] for name, entries in found.items()}, indent=2))
        return
    for name, entries in found.items():
        print(f"{name}")
        for entry in entries:
            print(f"  {entry.name:18} {entry.about}")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Device, versions, what can and cannot run here, and what to install."""
    from dataclasses import asdict

    from harness.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'ok' if finding.ok else 'NO':3} {finding.what:26} {finding.detail}")
            if not finding.ok:
                print(f"    {'':26} -> {finding.remedy}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.callback(invoke_without_command=True)
def front(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a user's mistake is a sentence on standard error and exit code 2."""
    try:
        app()
    except UserError as mistake:
        if "--debug" in sys.argv:
            raise
        print(f"harness: {mistake}", file=sys.stderr)
        sys.exit(USAGE)
