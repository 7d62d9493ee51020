"""The report: what a folder of records says, as a page a person reads and a table a spreadsheet opens.

>>> write_report("results/quickstart")
PosixPath('reports/quickstart/report.md')

It reads records and nothing else: no model, no torch. The same records always give the same page.
"""

from __future__ import annotations

from pathlib import Path

from harness.records import load, load_records, split_selector
from harness.report.cohorts import gather, load_baselines
from harness.report.cost import Prices

__all__ = ["terminal_table", "write_report"]


def write_report(
    selector: str,
    out: Path | None = None,
    prices: Prices = Prices(),  # noqa: B008
    *,
    examples: bool = True,
) -> Path:
    """Write `report.md`, `figures/*.png`, `report.html` and `records.csv`; the path of the first.

    `out` is reports/<name of the results folder> where it is not given. UserError where the results folder is
    missing, holds no record, or holds a file that cannot be read. `prices` turn seconds into money; `examples`: whether
    rows, with what each method answered, may be shown.
    """
    # pandas and matplotlib take a second to load; the terminal's table does without them.
    from harness.report.comparisons import Comparisons
    from harness.report.figures import draw_figures
    from harness.report.html import page as as_html
    from harness.report.page import Chapter, render, tips
    from harness.report.spreadsheet import write_csv

    folder, _ = split_selector(selector)
    loaded = load(selector)
    stored = loaded.records
    cohorts = gather(stored, load_baselines(folder))
    out = out or Path("reports") / folder.resolve().name
    out.mkdir(parents=True, exist_ok=True)
    chapters = [
        Chapter(cohort, draw_figures(cohort, number, out), Comparisons.of(cohort))
        for number, cohort in enumerate(cohorts, 1)
    ]
    write_csv(stored, folder, out / "records.csv")
    page, text = out / "report.md", render(chapters, folder, prices, loaded.left_out, examples=examples)
    page.write_text(text, encoding="utf-8")
    drawings = [drawing for chapter in chapters for drawing in chapter.drawings]
    html = as_html(text, drawings, tips(chapters), f"Report on {folder.resolve().name}")
    (out / "report.html").write_text(html, encoding="utf-8")
    return page


def terminal_table(selector: str) -> str:
    """A compact plain-text table a cohort, for the console; UserError as in `write_report`."""
    from harness.report.console import render

    folder, _ = split_selector(selector)
    return render(gather(load_records(selector), load_baselines(folder)))
