"""Finding passages: by meaning (sentence-transformers and FAISS), by words (BM25), or by both.

index = Index.build(task.corpus, ContextSettings("rag", retriever="hybrid"))
index.search("When does the Ormen sail?", k=3)     # the three best passages, best first
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.contexts.context_settings import ContextSettings
from harness.contexts.retrieval_index import Dense, Lexical, Ranking, Step, kept
from harness.embedding import Embedder
from harness.tasks.documents import Passage, document_of, in_chunks
from harness.tasks.task import Example

_RRF = 60  # the constant of reciprocal rank fusion (Cormack et al. 2009)
_DEPTH = 10  # how many times k each ranking goes deep before two are fused


@dataclass
class Index:
    """Passages and one or two ways to rank them."""

    passages: tuple[Passage, ...]
    rankings: tuple[Ranking, ...]
    seconds: float
    """To embed the corpus and build the index, when it was built; the embedder's own loading left out."""
    cached: bool
    """Whether it was built by an earlier run."""

    @classmethod
    def build(cls, passages: Sequence[Passage], settings: ContextSettings, step: Step = lambda *_: None) -> Index:
        """The index of a corpus, from the cache if it is there; UserError if the embedder cannot be had.

        Of the settings, retriever, embedder, index and chunk count.
        """
        embedder = Embedder(settings.embedder)
        if tokens := settings.chunk.tokens:
            passages = list(in_chunks(passages, embedder.tokenizer, tokens, settings.chunk.overlap))
        texts = [passage.shown for passage in passages]
        ranks = {"dense": ("dense",), "bm25": ("bm25",), "hybrid": ("dense", "bm25")}[settings.retriever]
        rankings: list[Ranking] = []
        seconds, cached = 0.0, True
        for kind in ranks:
            folder, took, found = kept(kind, texts, settings, embedder, step)
            rankings.append(Dense(folder, embedder) if kind == "dense" else Lexical(folder))
            seconds, cached = seconds + took, cached and found
        return cls(tuple(passages), tuple(rankings), seconds, cached)

    def search(self, query: str, k: int) -> list[Passage]:
        """The k best passages, best first."""
        k = min(k, len(self.passages))
        if len(self.rankings) == 1:
            rows = self.rankings[0].search(query, k)
        else:
            deep = min(_DEPTH * k, len(self.passages))
            rows = fused([ranking.search(query, deep) for ranking in self.rankings])[:k]
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

    A document that is found in several chunks counts at its first place.
    """
    ranked, wanted = list(dict.fromkeys(found)), set(gold)
    hits = [rank for rank, document in enumerate(ranked, start=1) if document in wanted]
    ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(len(wanted), len(found)) + 1))
    return {
        "recall": len(hits) / len(wanted),
        "mrr": 1 / hits[0] if hits else 0.0,
        "ndcg": sum(1 / math.log2(1 + rank) for rank in hits) / ideal if ideal else 0.0,
    }


def mean_ranking_quality(found: Mapping[str, Sequence[str]], examples: Sequence[Example]) -> dict[str, float]:
    """Mean recall, reciprocal rank and nDCG of what was found for examples that name their gold passages; else empty.

    found: ids of passages by the example's id, best first.
    """
    known = [example for example in examples if example.evidence]
    each = [ranking_quality([document_of(id) for id in found[e.id]], e.evidence) for e in known]
    return {name: sum(one[name] for one in each) / len(each) for name in each[0]} if each else {}


def gives_away(passage: Passage, example: Example) -> bool:
    """Whether a passage holds the row's question and its answer as they stand (frequently asked questions)."""
    text = _folded(passage.text)
    return _folded(example.query) in text and _folded(example.answer) in text


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
