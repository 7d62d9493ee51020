"""Escape text from models and data for markdown, terminals and spreadsheets.

>>> markdown("a|b <script>")
'a&#124;b &lt;script&gt;'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from harness.stats import Estimate

LONGEST = 120

# Entities are never markup (CommonMark 2.5), whereas backslashes fail before letters and inside table cells.
_MARKUP = str.maketrans({c: f"&#{ord(c)};" for c in "|`*[]~!#\\$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Underscores inside a word are not emphasis, and `few_shot` should stay readable in the source.
_LOOSE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_PLAIN_CODE = re.compile(r"[\w .,:;=/@+{}()\[\]'\"-]+", re.ASCII)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain(value: object, longest: int = LONGEST) -> str:
    """One line without control characters (terminal escapes, reversed text), cut if it is too long."""
    # Cc: controls and newlines; Cf: bidirectional overrides; Zl, Zp: line and paragraph separators.
    kept = ("".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in str(value))).split()
    line = " ".join(kept)
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def markdown(value: object, longest: int = LONGEST) -> str:
    """Text escaped for a markdown paragraph or table cell."""
    return _LOOSE_UNDERSCORE.sub("&#95;", plain(value, longest).translate(_MARKUP))


def code(value: object, longest: int = 1000) -> str:
    """The same in a fixed-width face; in back-quotes only what cannot break out of them or out of a cell."""
    line = plain(value, longest)
    return f"`{line}`" if _PLAIN_CODE.fullmatch(line) else f"<code>{markdown(line, longest)}</code>"


def cell(value: object) -> object:
    """A spreadsheet's cell: a string that would run as a formula becomes text, a number stays a number."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


MISSING = "–"  # noqa: RUF001  (an en dash, so that an empty cell does not look like a minus sign)


def short(value: float | None) -> str:
    if value is None:
        return MISSING
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def count(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def with_interval(estimate: Estimate | None) -> str:
    """`0.81 (0.72 to 0.88)`"""
    if estimate is None:
        return MISSING
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


@dataclass(frozen=True)
class Unit:
    """What a raw number is divided by, and the name of the result."""

    name: str
    size: float

    def show(self, value: float | None) -> str:
        return MISSING if value is None else short(value / self.size)


def memory_unit(values: Iterable[float | None]) -> Unit:
    """MiB, or GiB where the column goes beyond 4 GiB."""
    largest = max((v for v in values if v is not None), default=0)
    return Unit("GiB", 2**30) if largest > 4 * 2**30 else Unit("MiB", 2**20)


_LEFT_ALIGNED = {
    *("method", "quality", "slice", "run id", "folder", "command", "what", "value", "task"),
    *("predicted better", "predicted worse", "reaches", "rule"),
}


@dataclass(frozen=True)
class Table:
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table as markdown; its cells must be escaped already."""
        marks = [":--" if h in _LEFT_ALIGNED else "--:" for h in self.headings]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in (self.headings, marks, *self.rows))

    def text(self) -> str:
        """Aligned columns, two spaces apart."""
        widths = [max(map(len, column)) for column in zip(self.headings, *self.rows, strict=True)]

        def line(cells: tuple[str, ...]) -> str:
            padded = [
                cell.ljust(width) if heading in _LEFT_ALIGNED else cell.rjust(width)
                for cell, width, heading in zip(cells, widths, self.headings, strict=True)
            ]
            return "  ".join(padded).rstrip()

        return "\n".join(map(line, (self.headings, *self.rows)))

    def without_empty_columns(self) -> Table:
        kept = [i for i in range(len(self.headings)) if any(row[i] != MISSING for row in self.rows)]
        return Table(tuple(self.headings[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in self.rows))
