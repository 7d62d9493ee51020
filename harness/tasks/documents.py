"""A task's documents: read from a folder and cut into passages short enough for the embedder.

docs/ferries/ormen.md        # Ormen ...      ->  Passage("ferries/ormen.md", "Ormen", "...")
in_chunks(passages, tokenizer, tokens=200, overlap=40)     ->  "ferries/ormen.md#1", "ferries/ormen.md#2", ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError

_TEXTS = (".md", ".markdown", ".txt")
_HEADING = re.compile(r"\A\s*#+\s*(.+)")
_PART = "#"


@dataclass(frozen=True)
class Passage:
    """A text to retrieve and to show in a prompt."""

    id: str
    title: str
    text: str

    @property
    def document(self) -> str:
        """The id of the document that this passage was cut from; the passage's id if it is a whole document."""
        return document_of(self.id)

    @property
    def shown(self) -> str:
        """Title and text, as they are indexed and as they appear in a prompt."""
        return f"{self.title}: {self.text}" if self.title else self.text


def document_of(id: str) -> str:
    """The id of the document that a passage was cut from; the same id if the passage is a whole document."""
    name, separator, number = id.rpartition(_PART)
    return name if separator and number.isdigit() else id


def read_documents(folder: Path) -> list[dict[str, str]]:
    """Every text and Markdown file below a folder as a corpus row: its path is the id, its first heading the title."""
    rows = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _TEXTS and path.is_file():
            try:
                text = path.read_text(encoding="utf-8").strip()
            except UnicodeDecodeError as cause:
                raise UserError(f"{path}: not UTF-8 text ({cause.reason} at byte {cause.start}).") from cause
            heading = _HEADING.match(text)
            title = heading[1].strip() if heading else path.stem.replace("_", " ")
            body = text[heading.end() :].strip() if heading else text
            if body:
                rows.append({"id": path.relative_to(folder).as_posix(), "title": title, "text": body})
    if not rows:
        raise UserError(f"{folder}: no {', '.join(_TEXTS)} file with text in it.")
    return rows


def in_chunks(passages: Sequence[Passage], tokenizer: Any, tokens: int, overlap: int) -> Iterator[Passage]:
    """Passages of at most `tokens` embedder tokens; each starts `overlap` tokens before the end of the previous one.

    tokenizer: a fast Hugging Face tokenizer, since slow ones have no offset mapping.
    """
    if not 0 <= overlap < tokens:
        raise UserError(f"context.chunk.overlap={overlap}: expected 0 or more and less than chunk.tokens={tokens}.")
    for passage in passages:
        offsets = tokenizer(passage.text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        if len(offsets) <= tokens:
            yield passage
            continue
        starts = range(0, max(1, len(offsets) - overlap), tokens - overlap)
        for number, start in enumerate(starts, start=1):
            last = min(start + tokens, len(offsets)) - 1
            text = passage.text[offsets[start][0] : offsets[last][1]]
            yield Passage(f"{passage.id}{_PART}{number}", passage.title, text)
