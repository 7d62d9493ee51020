"""The index of a corpus: built once for its texts and settings, cached on disk, memory-mapped when searched.

It is built batch by batch, so the memory that building needs besides the texts does not grow with the corpus.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness import files, paths
from harness.contexts.context_settings import ContextSettings
from harness.embedding import BATCH, Embedder
from harness.installation import require_run

INDEXES = ("exact", "hnsw", "ivf")
_BLOCK = 65536  # vectors that exact search reads at a time

Step = Callable[[str, int, int], None]


class Ranking(Protocol):
    """One way to rank passages for a query."""

    def search(self, query: str, k: int) -> list[int]:
        """The numbers of the k best passages, best first."""
        ...


class Dense:
    """Embeddings in a FAISS index: exact over mapped vectors, or approximate (HNSW, inverted lists)."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        import faiss

        self._embedder = embedder
        approximate = folder / _FAISS
        self._index = faiss.read_index(str(approximate), faiss.IO_FLAG_MMAP) if approximate.exists() else None
        self._vectors = np.load(folder / _VECTORS, mmap_mode="r")
        embedder.model  # noqa: B018  (loads it now, so that the first search is not slower)

    def search(self, query: str, k: int) -> list[int]:
        vector = self._embedder([query])
        if self._index is not None:
            _, rows = self._index.search(vector, k)
            return [int(row) for row in rows[0] if row >= 0]
        return self._exact(vector, k)

    def _exact(self, vector: np.ndarray, k: int) -> list[int]:
        import faiss

        best: list[tuple[float, int]] = []
        for start in range(0, len(self._vectors), _BLOCK):
            block = np.ascontiguousarray(self._vectors[start : start + _BLOCK])
            scores, rows = faiss.knn(vector, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
            best += [(-float(score), start + int(row)) for score, row in zip(scores[0], rows[0], strict=True)]
        return [row for _, row in sorted(best)[:k]]


class Lexical:
    """BM25 (Robertson et al. 1995) by bm25s, over lower-cased words without English stop words."""

    def __init__(self, folder: Path) -> None:
        import bm25s

        self._index = bm25s.BM25.load(str(folder / _BM25), mmap=True)

    def search(self, query: str, k: int) -> list[int]:
        rows, _ = self._index.retrieve(_words([query]), k=k, show_progress=False)
        return [int(row) for row in rows[0]]


_VECTORS, _FAISS, _BM25, _FACTS = "vectors.npy", "index.faiss", "bm25", "facts.json"


def cached_index(
    kind: str, texts: list[str], settings: ContextSettings, embedder: Embedder, step: Step
) -> tuple[Path, float, bool]:
    """The folder of an index, built if the cache lacks it; the seconds to build it, and whether it was cached."""
    root = paths.cache() / "indexes"
    folder = root / _key(kind, texts, settings)
    facts = folder / _FACTS
    with files.lock(root, folder.name):
        was_cached = facts.exists()
        if not was_cached:
            began = time.perf_counter()
            with files.draft_folder(folder) as draft:
                if kind == "dense":
                    embedder.model  # noqa: B018
                    began = time.perf_counter()
                    _build_dense(texts, settings.index, embedder, draft, step)
                else:
                    _build_lexical(texts, draft, step)
                (draft / _FACTS).write_text(json.dumps({"seconds": time.perf_counter() - began}))
    return folder, float(json.loads(facts.read_text())["seconds"]), was_cached


def _key(kind: str, texts: Sequence[str], settings: ContextSettings) -> str:
    """Hash of what an index depends on: the texts, library versions, and the embedder and kind of a dense index."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    packages = ["bm25s"] if kind == "bm25" else ["faiss-cpu", "sentence-transformers"]
    require_run(f"retrieval by {kind}", *packages)
    options = {} if kind == "bm25" else {"embedder": settings.embedder, "index": settings.index}
    versions = {name: importlib.metadata.version(name) for name in packages}
    digest.update(json.dumps([kind, options, versions], sort_keys=True).encode())
    return digest.hexdigest()[:20]


def _build_dense(texts: list[str], kind: str, embedder: Embedder, folder: Path, step: Step) -> None:
    width = embedder([texts[0]]).shape[1]
    vectors = np.lib.format.open_memmap(folder / _VECTORS, mode="w+", dtype=np.float32, shape=(len(texts), width))
    for start in range(0, len(texts), BATCH):
        vectors[start : start + BATCH] = embedder(texts[start : start + BATCH])
        step("indexing", min(start + BATCH, len(texts)), len(texts))
    vectors.flush()
    if kind != "exact":
        _build_approximate(vectors, kind, folder)


def _build_approximate(vectors: np.ndarray, kind: str, folder: Path) -> None:
    """HNSW with 32 neighbours (Malkov and Yashunin 2016), or 4 sqrt(n) inverted lists of which 1/8 are searched."""
    import faiss

    n, width = vectors.shape
    metric = faiss.METRIC_INNER_PRODUCT
    index: Any
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, 32, metric)
    else:
        lists = max(1, min(n // 39, round(4 * math.sqrt(n))))  # FAISS wants 39 vectors a list to train on
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, metric)
        sample = np.random.default_rng(0).permutation(n)[: 256 * lists]
        index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
        index.nprobe = max(1, lists // 8)
    for start in range(0, n, _BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))
    faiss.write_index(index, str(folder / _FAISS))


def _build_lexical(texts: list[str], folder: Path, step: Step) -> None:
    import bm25s

    step("indexing words", 0, len(texts))
    index = bm25s.BM25()
    index.index(_words(texts), show_progress=False)
    index.save(str(folder / _BM25))


def _words(texts: list[str]) -> Any:
    import bm25s

    return bm25s.tokenize(texts, stopwords="en", show_progress=False)
