"""`harness demo`: what the committed run of `experiment=quickstart` found, from its records; no model, no torch."""

from __future__ import annotations

from harness.errors import UserError
from harness.paths import DEMO_REPORT, DEMO_RESULTS
from harness.progress import spoken
from harness.records.baselines import read_baselines
from harness.records.cohorts import gather
from harness.records.reading import StoredRecord, load_records
from harness.report import console
from harness.report.comparisons import Comparisons


def text() -> str:
    """Its tables, their findings, where the report lies and what to type next; UserError if it is not there."""
    if not DEMO_RESULTS.is_dir():
        raise UserError(
            f"{DEMO_RESULTS}: the demo's results are missing. Make your own: harness run experiment=quickstart"
        )
    stored = load_records(str(DEMO_RESULTS))
    files = sorted(DEMO_RESULTS.rglob("baselines.json"))
    cohorts = gather(stored, [one for path in files for one in read_baselines(path)])
    tables = console.page([console.render(cohort, Comparisons.of(cohort)) for cohort in cohorts])
    steps = console.next_steps(str(DEMO_RESULTS), DEMO_REPORT / "report.md")
    return "\n\n".join([_origin(stored), tables, steps])


def _origin(stored: list[StoredRecord]) -> str:
    """What was run where, and the command that runs it here."""
    seconds = sum(run.record.environment.seconds or 0.0 for run in stored)
    device = stored[0].record.environment.device
    return (
        f"The committed run of experiment=quickstart: {len(stored)} runs in {spoken(seconds)} on {device}.\n"
        "On this machine: harness run experiment=quickstart && harness report results/quickstart"
    )
