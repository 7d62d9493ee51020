"""Retrieval of passages: dense (sentence-transformers and FAISS), BM25, or both.

index = Index.build(task.corpus, ContextSettings("rag", retriever="hybrid"))
index.search("When does the Ormen sail?", k=3)     # the three best passages, best first
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.contexts.context_settings import ContextSettings
from harness.contexts.retrieval_index import Dense, Lexical, Ranking, Step, cached_index
from harness.embedding import Embedder
from harness.tasks.documents import Passage, document_of, in_chunks
from harness.tasks.task import Example

_RRF = 60  # the constant of reciprocal rank fusion (Cormack et al. 2009)
_DEPTH = 10  # each ranking returns _DEPTH * k passages before two are fused


@dataclass
class Index:
    """Passages and one or two rankings of them."""

    passages: tuple[Passage, ...]
    rankings: tuple[Ranking, ...]
    seconds: float
    """Time to embed the corpus and build the index, without loading the embedder."""
    cached: bool
    """Whether an earlier run built the index."""

    @classmethod
    def build(cls, passages: Sequence[Passage], settings: ContextSettings, step: Step = lambda *_: None) -> Index:
        """The index of a corpus, from the cache if possible; UserError if the embedder cannot be loaded.

        Uses `retriever`, `embedder`, `index` and `chunk` of the settings.
        """
        embedder = Embedder(settings.embedder)
        if tokens := settings.chunk.tokens:
            passages = list(in_chunks(passages, embedder.tokenizer, tokens, settings.chunk.overlap))
        texts = [passage.shown for passage in passages]
        kinds = {"dense": ("dense",), "bm25": ("bm25",), "hybrid": ("dense", "bm25")}[settings.retriever]
        rankings: list[Ranking] = []
        seconds, cached = 0.0, True
        for kind in kinds:
            folder, build_seconds, was_cached = cached_index(kind, texts, settings, embedder, step)
            rankings.append(Dense(folder, embedder) if kind == "dense" else Lexical(folder))
            seconds, cached = seconds + build_seconds, cached and was_cached
        return cls(tuple(passages), tuple(rankings), seconds, cached)

    def search(self, query: str, k: int) -> list[Passage]:
        """The k best passages, best first."""
        k = min(k, len(self.passages))
        if len(self.rankings) == 1:
            rows = self.rankings[0].search(query, k)
        else:
            depth = min(_DEPTH * k, len(self.passages))
            rows = fused([ranking.search(query, depth) for ranking in self.rankings])[:k]
        return [self.passages[row] for row in rows]

    def search_for(self, example: Example, k: int) -> list[Passage]:
        """The k best passages that do not contain both the row's question and its answer."""
        passages = self.search(example.query, min(2 * k, len(self.passages)))
        return [passage for passage in passages if not gives_away(passage, example)][:k]


def fused(rankings: Iterable[Sequence[int]]) -> list[int]:
    """Rows by reciprocal rank fusion (Cormack et al. 2009): the sum of 1 / (60 + rank) over rankings, best first."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking, start=1):
            scores[row] = scores.get(row, 0.0) + 1 / (_RRF + rank)
    return sorted(scores, key=lambda row: -scores[row])


def ranking_quality(retrieved: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Recall, reciprocal rank of the first gold document, and nDCG with binary gains, of one ranked list of ids.

    A document with several chunks in the list counts once, at the rank of its first.
    """
    ranked, relevant = list(dict.fromkeys(retrieved)), set(gold)
    hits = [rank for rank, document in enumerate(ranked, start=1) if document in relevant]
    ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(len(relevant), len(retrieved)) + 1))
    return {
        "recall": len(hits) / len(relevant),
        "mrr": 1 / hits[0] if hits else 0.0,
        "ndcg": sum(1 / math.log2(1 + rank) for rank in hits) / ideal if ideal else 0.0,
    }


def mean_ranking_quality(retrieved: Mapping[str, Sequence[str]], examples: Sequence[Example]) -> dict[str, float]:
    """Mean recall, reciprocal rank and nDCG over the examples that name their gold passages; empty if none does.

    retrieved: ids of passages by the example's id, best first.
    """
    judged = [example for example in examples if example.evidence]
    scores = [ranking_quality([document_of(id) for id in retrieved[e.id]], e.evidence) for e in judged]
    return {name: sum(row[name] for row in scores) / len(scores) for name in scores[0]} if scores else {}


def gives_away(passage: Passage, example: Example) -> bool:
    """Whether a passage contains the row's question and its answer literally, as a FAQ does."""
    text = _folded(passage.text)
    return _folded(example.query) in text and _folded(example.answer) in text


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
