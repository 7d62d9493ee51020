"""What the commands do, for a notebook. Reading results loads no torch, and only `run` needs the extra `[run]`.

from harness import api

api.records("results/reference")                   # a DataFrame with a row a run
api.items("results/reference,task=squad")          # a DataFrame with a row an item of each run
api.decide("results/reference", max_memory="2GB")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.installation import require_run
from harness.records import Record, load_records

if TYPE_CHECKING:
    import pandas as pd

    from harness.check.outcome import Outcome
    from harness.decide import Decision
    from harness.report import Report

__all__ = ["check", "decide", "items", "records", "report", "run"]


def records(results: str | Path = "results") -> pd.DataFrame:
    """A row a run that a folder and filters choose, with the columns of records.csv (docs/records.md).

    A failed run has its row, with `status` and `error.message`. UserError if nothing is chosen.
    """
    import pandas as pd

    from harness.report.spreadsheet import flat

    return pd.DataFrame([flat(stored) for stored in load_records(str(results))])


def items(results: str | Path = "results", split: str = "test") -> pd.DataFrame:
    """A row an item of each run: `run_id`, `task`, `model`, `label`, `seed` and what predictions.jsonl has.

    split: test | validation.
    """
    import pandas as pd

    if split not in ("test", "validation"):
        raise UserError(f"split={split}: known are test and validation.")
    rows = []
    for stored in load_records(str(results)):
        run = stored.record
        cell = {"run_id": run.run_id, "task": run.task, "model": run.model, "label": run.label, "seed": run.seed}
        rows += [cell | vars(prediction) for prediction in stored.predictions(split)]
    return pd.DataFrame(rows)


def run(*overrides: str) -> Record:
    """Run one cell in a separate process and return its record; a finished run is not repeated.

    overrides: as after `harness run`. UserError if they are wrong, make several cells, or make one that does not apply;
    NotInstalled without `[run]`.
    """
    require_run("api.run")
    from harness.records.results_folder import latest, run_folder
    from harness.sweep import launch
    from harness.sweep.compose import compositions

    cells = compositions(overrides)
    if len(cells) != 1:
        raise UserError(f"{' '.join(overrides)}: {len(cells)} cells; api.run runs one. A sweep is `harness run -m`.")
    launch.main(list(overrides))
    record = latest(run_folder(cells[0].results, cells[0].planned(cells[0].load_task())))
    if record is None:
        raise UserError(f"{' '.join(overrides)}: no record; does this context apply to the task?")
    return record


def report(results: str | Path | Sequence[str | Path] = "results", out: str | Path | None = None) -> Report:
    """Write a report as `harness report` does: its page and its console table."""
    from harness.report import write_report

    several = [results] if isinstance(results, str | Path) else results
    return write_report([str(one) for one in several], Path(out) if out else None)


def check(baseline: str | Path, candidate: str | Path, margin: float | None = None) -> Outcome:
    """Whether a candidate is no worse than a baseline: `.verdict` and, by task, the differences."""
    from harness.check import check as compare
    from harness.check.margins import read_margins

    return compare(str(baseline), str(candidate), read_margins(None, margin), 0.01)


def decide(results: str | Path = "results", **limits: Any) -> Sequence[Decision]:
    """Which method for each task, within limits: max_memory="24GB", max_latency="200ms", max_training="2h",
    requests_per_month=1e6, gpu_hour=2.5, facts_change="weekly", private=True."""
    from harness.decide import decide as choose
    from harness.decide.limits import Limits

    return choose(str(results), Limits.typed(**limits))
