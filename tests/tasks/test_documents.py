"""Documents of a folder, and their chunks."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from harness.embedding import load_embedder
from harness.errors import UserError
from harness.tasks.documents import Passage, in_chunks, read_documents


def test_documents_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "ferries").mkdir()
    (tmp_path / "ferries" / "ormen.md").write_text("# The Ormen\n\nSails at noon.\n")
    (tmp_path / "quay_rules.txt").write_text("No bicycles.")
    (tmp_path / "empty.md").write_text("# Only a heading\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    assert read_documents(tmp_path) == [
        {"id": "ferries/ormen.md", "title": "The Ormen", "text": "Sails at noon."},
        {"id": "quay_rules.txt", "title": "quay rules", "text": "No bicycles."},
    ]
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"latin\.txt: not UTF-8"):
        read_documents(tmp_path)


def test_chunks_overlap_and_leave_nothing_out() -> None:
    tokenizer = load_embedder("all-minilm-l6-v2").tokenizer
    text = " ".join(f"word{i}" for i in range(200))
    chunks = list(in_chunks([Passage("d", "T", text), Passage("short", "", "a b")], tokenizer, tokens=50, overlap=10))
    assert chunks[-1] == Passage("short", "", "a b")
    parts = chunks[:-1]
    assert [c.id for c in parts] == [f"d#{i}" for i in range(1, len(parts) + 1)]
    assert {c.document for c in parts} == {"d"}
    words = [set(c.text.split()) for c in parts]
    assert all(len(tokenizer(c.text, add_special_tokens=False)["input_ids"]) <= 50 for c in parts)
    assert all(one & two for one, two in itertools.pairwise(words))
    assert {w for some in words for w in some} >= {f"word{i}" for i in range(0, 200, 7)}
    with pytest.raises(UserError, match="overlap=50"):
        list(in_chunks(chunks, tokenizer, 50, 50))
