"""The report on folders of records: a page to read and a table for a spreadsheet.

>>> write_report("results/quickstart").page
PosixPath('reports/quickstart/report.md')

It reads records and nothing else: no model, no torch. The same records always give the same page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.records.baselines import read_baselines
from harness.records.cohorts import place
from harness.records.costs import Prices
from harness.records.index import Found, Header, Key, scan

if TYPE_CHECKING:
    from harness.report.chapter_cache import Step


__all__ = ["Report", "write_report"]


class Report(NamedTuple):
    page: Path
    """report.md."""
    table: str
    """A compact plain-text table a cohort, for the console."""


def write_report(
    selectors: str | Sequence[str],
    out: Path | None = None,
    prices: Prices = Prices(),  # noqa: B008
    *,
    examples: bool = True,
    step: Step = lambda done, total: None,
) -> Report:
    """Write `report.md`, `figures/*.svg`, `report.html` and `records.csv`.

    `selectors`: one or several results folders with filters; runs of several that may be compared stand in one table.
    `out` is reports/<names of the results folders> where it is not given. UserError if a results folder is missing,
    holds no record, or holds a file that cannot be read. `prices` turn seconds into money; `examples`: whether rows,
    with what each method answered, may be shown. `step` is told how many of the chapters to write are written.
    """
    from harness.report import console
    from harness.report.chapter_cache import make
    from harness.report.chapters import Options, Order
    from harness.report.page import render
    from harness.report.spreadsheet import write_csv

    scanned = scan([selectors] if isinstance(selectors, str) else selectors)
    name = "-".join(root.resolve().name for root in scanned.roots)
    out = out or Path("reports") / name
    baselines = list(dict.fromkeys(one for path in scanned.baselines for one in read_baselines(path)))
    options = Options(prices, examples)
    orders = [Order(key, headers, baselines, options) for key, headers in _placed(scanned).items()]
    chapters = make(orders, scanned.cache, step)
    text, html = render(chapters, name, scanned.left_out)
    out.mkdir(parents=True, exist_ok=True)
    write_csv([chapter.sheet for chapter in chapters], out / "records.csv")
    _draw(out / "figures", {name: svg for chapter in chapters for name, svg in chapter.pictures.items()})
    (out / "report.html").write_text(html, encoding="utf-8")
    page = out / "report.md"
    page.write_text(text, encoding="utf-8")
    return Report(page, console.page([chapter.console for chapter in chapters]))


def _draw(folder: Path, pictures: Mapping[str, str]) -> None:
    """Write pictures that are new or have changed, and remove those of an earlier report that are no more."""
    for old in folder.glob("*.svg"):
        if old.name not in pictures:
            old.unlink()
    for name, svg in pictures.items():
        folder.mkdir(exist_ok=True)
        path, drawn = folder / name, svg.encode()
        if not path.exists() or path.read_bytes() != drawn:
            path.write_bytes(drawn)


def _placed(scanned: Found) -> dict[Key, list[Header]]:
    return place([(header.key, header.fields["experiment"], header) for header in scanned.headers])
