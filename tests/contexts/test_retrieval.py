"""How passages are found: indexes, fusion, what a ranking is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from harness.contexts import retrieval_index
from harness.contexts.context_settings import ContextSettings, IndexKind
from harness.contexts.retrieval import Index, fused, ranking_quality
from harness.tasks.documents import Passage

SETTINGS = ContextSettings("rag")
SUBJECTS = ("ferries", "bread", "mountains", "violins", "tax law", "penguins")


@pytest.fixture(scope="module")
def passages() -> list[Passage]:
    return [Passage(f"p{i}", "", f"Note {i:03d}: all about {SUBJECTS[i % 6]} and code Q{i:03d}.") for i in range(300)]


@pytest.mark.parametrize("index", get_args(IndexKind))
def test_every_index_finds_what_is_meant(passages: list[Passage], index: str) -> None:
    built = Index.build(passages, replace(SETTINGS, index=index))
    found = built.search("birds of the Antarctic", 5)
    assert len(found) == 5
    assert all("penguins" in passage.text for passage in found)


def test_words_find_a_code_that_meaning_does_not(passages: list[Passage]) -> None:
    lexical = Index.build(passages, replace(SETTINGS, retriever="bm25"))
    assert lexical.search("what does Q123 say", 1)[0].id == "p123"
    hybrid = Index.build(passages, replace(SETTINGS, retriever="hybrid"))
    assert "p123" in {passage.id for passage in hybrid.search("what does Q123 say", 5)}
    assert len(lexical.search("zzz", 3)) == 3  # unknown words still give k passages


def test_an_index_is_built_once(passages: list[Passage], monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [Passage(f"x{i}", "", f"once {i}") for i in range(5)]
    first = Index.build(texts, SETTINGS)
    monkeypatch.setattr(retrieval_index, "_build_dense", lambda *_: pytest.fail("built again"))
    again = Index.build(texts, SETTINGS)
    assert (first.cached, again.cached) == (False, True)
    assert again.seconds == first.seconds
    assert [p.id for p in again.search("once 3", 5)] == [p.id for p in first.search("once 3", 5)]


def test_exact_search_in_blocks_is_exact_search(passages: list[Passage], monkeypatch: pytest.MonkeyPatch) -> None:
    built = Index.build(passages, SETTINGS)
    whole = [p.id for p in built.search("a loaf with a crust", 7)]
    monkeypatch.setattr(retrieval_index, "_BLOCK", 37)
    assert [p.id for p in built.search("a loaf with a crust", 7)] == whole


def test_fusion_adds_reciprocal_ranks() -> None:
    assert fused([[1, 2, 3], [3, 2]]) == [3, 2, 1]  # 1/63 + 1/61, 1/62 + 1/62, 1/61
    assert fused([[5, 4]]) == [5, 4]


def test_ranking_is_judged_by_recall_reciprocal_rank_and_ndcg() -> None:
    assert ranking_quality(["a", "b", "c"], ["b"]) == {"recall": 1, "mrr": 0.5, "ndcg": pytest.approx(0.6309, abs=1e-4)}
    assert ranking_quality(["a", "b"], ["z"]) == {"recall": 0, "mrr": 0, "ndcg": 0}
    assert ranking_quality(["a", "b"], ["a", "b"]) == {"recall": 1, "mrr": 1, "ndcg": 1}
    assert ranking_quality(["b", "b", "a"], ["a"])["mrr"] == 0.5  # two chunks of one document take one place
