"""What models and data say, made harmless for markdown, for a terminal and for a spreadsheet.

>>> markdown("a|b <script>")
'a&#124;b &lt;script&gt;'
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 120

# Entities are never markup (CommonMark 2.5), whereas backslashes fail before letters and inside table cells.
_MARKUP = str.maketrans({c: f"&#{ord(c)};" for c in "|`*[]~!#\\$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Underscores inside a word are not emphasis, and `few_shot` should stay readable in the source.
_LOOSE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_PLAIN_CODE = re.compile(r"[\w .,:;=/@+{}()\[\]'\"-]+", re.ASCII)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain(said: object, longest: int = LONGEST) -> str:
    """One line without control characters (terminal escapes, reversed text), cut where it is too long."""
    # Cc: controls and newlines; Cf: bidirectional overrides; Zl, Zp: line and paragraph separators.
    kept = ("".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in str(said))).split()
    line = " ".join(kept)
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def markdown(said: object, longest: int = LONGEST) -> str:
    """Text for a paragraph or a table cell that shows exactly what was said and means nothing to markdown."""
    return _LOOSE_UNDERSCORE.sub("&#95;", plain(said, longest).translate(_MARKUP))


def code(said: object, longest: int = 1000) -> str:
    """The same in a fixed-width face; in back-quotes only what cannot break out of them or out of a cell."""
    line = plain(said, longest)
    return f"`{line}`" if _PLAIN_CODE.fullmatch(line) else f"<code>{markdown(line, longest)}</code>"


def cell(value: object) -> object:
    """A spreadsheet's cell: a string that would run as a formula becomes text, a number stays a number."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def slug(name: str) -> str:
    """Lower-case letters, digits and dashes: a part of a file's name that cannot leave its folder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "unnamed"
