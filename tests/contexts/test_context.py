"""What goes into the prompt: instructions and passages."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.contexts.context import bind
from harness.contexts.context_settings import ContextSettings
from harness.contexts.retrieval import gives_away, mean_ranking_quality
from harness.errors import NotApplicable
from harness.tasks.definition import load_task
from harness.tasks.documents import Passage
from harness.tasks.task import Task

EMBEDDER = "all-minilm-l6-v2"
RAG = ContextSettings("rag", k=2, embedder=EMBEDDER)


def test_instructions_come_before_the_question(task: Task) -> None:
    (message,) = bind(ContextSettings("instructed"), task, (), seed=0).render(task.splits["test"][0])
    assert message["content"] == "Say the colour.\n\nWhich colour? the red box number 0 of test"


def test_retrieval_finds_the_passage_and_counts_recall(task: Task) -> None:
    context = bind(replace(RAG, k=1), task, (), seed=0)
    rows = task.splits["test"]
    found = {row.id: [passage.id for passage in context.gather(row).passages] for row in rows}
    assert [found[row.id][0] for row in rows] == [row.evidence[0] for row in rows]
    assert mean_ranking_quality(found, rows) == {"recall": 1.0, "mrr": 1.0, "ndcg": 1.0}
    wrong = [replace(row, evidence=("doc-none",)) for row in rows[:3]]
    assert mean_ranking_quality(found, [*wrong, *rows[3:]])["recall"] == 0.5
    assert mean_ranking_quality(found, [replace(row, evidence=()) for row in rows]) == {}


def test_a_passage_that_holds_question_and_answer_is_left_out(task: Task, colours: Path) -> None:
    row = task.splits["test"][0]
    with (colours / "corpus.jsonl").open("a") as corpus:
        corpus.write(json.dumps({"id": "faq", "text": f"{row.query} Answer: {row.answer}"}) + "\n")
    context = bind(RAG, load_task(colours), (), seed=0)
    assert context.index is not None
    assert "faq" in {passage.id for passage in context.index.search(row.query, 2)}  # it would have been found
    assert "faq" not in {passage.id for passage in context.gather(row).passages}
    assert len(context.gather(row).passages) == 2


def test_evidence_alone_does_not_give_a_row_away(task: Task) -> None:
    row = task.splits["test"][0]
    assert not gives_away(Passage("p", "", f"The answer is {row.answer}."), row)
    assert gives_away(Passage("p", "", f"Q: {row.query.upper()}  A: {row.answer}"), row)


def test_oracle_shows_the_gold_passage_only(task: Task) -> None:
    context = bind(ContextSettings("oracle"), task, (), seed=0)
    assert [p.id for p in context.gather(task.splits["test"][1]).passages] == ["doc-1"]


@pytest.mark.parametrize("name", ["rag", "oracle"])
def test_a_task_without_documents_has_no_such_cell(colours: Path, name: str) -> None:
    (colours / "corpus.jsonl").unlink()
    with pytest.raises(NotApplicable, match="no documents"):
        bind(replace(RAG, name=name), load_task(colours), (), seed=0)
