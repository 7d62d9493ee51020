"""`harness demo`: the committed records and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from harness.paths import DEMO_REPORT, DEMO_RESULTS
from harness.records.reading import load_records
from harness.report.console import WIDTH


def test_the_demo_shows_the_committed_records_without_torch(tmp_path: Path) -> None:
    script = "import sys; sys.argv = ['harness', 'demo']\nfrom harness.cli import main\ntry: main()\n"
    script += "finally: assert not {'torch', 'matplotlib', 'hydra'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    stored = load_records(str(DEMO_RESULTS))
    assert stored and {run.record.status for run in stored} == {"ok"}
    for run in stored:
        quality = run.record.quality
        assert quality
        shown = f"{quality.value:.2f} ({quality.low:.2f} to {quality.high:.2f})"
        assert re.search(rf"^{re.escape(run.record.label)} +{re.escape(shown)} ", done.stdout, re.MULTILINE)
    tables = done.stdout.split("The whole report")[0].split("\n\n", 1)[1]
    assert max(map(len, tables.splitlines())) <= WIDTH
    assert "On handbook_choice passages lift accuracy from" in done.stdout
    assert str(DEMO_REPORT / "report.html") in done.stdout


def test_the_committed_report_is_of_the_committed_records() -> None:
    page = (DEMO_REPORT / "report.md").read_text(encoding="utf-8")
    assert all(run.record.run_id in page for run in load_records(str(DEMO_RESULTS)))
