"""What goes into the prompt: instructions and passages."""

import dataclasses
import json
from pathlib import Path

import pytest

from harness.contexts.context import bind
from harness.contexts.retrieval import gives_away
from harness.errors import NotApplicable
from harness.tasks.definition import load_task
from harness.tasks.documents import Passage
from harness.tasks.task import Task

EMBEDDER = "all-minilm-l6-v2"
RAG = {
    "name": "rag", "k": 2, "embedder": EMBEDDER, "retriever": "dense", "index": "exact",
    "chunk": {"tokens": None, "overlap": 0},
}  # fmt: skip


def test_instructions_come_before_the_question(task: Task) -> None:
    (message,) = bind({"name": "instructed"}, task, (), seed=0).render(task.splits["test"][0])
    assert message["content"] == "Say the colour.\n\nWhich colour? the red box number 0 of test"


def test_retrieval_finds_the_passage_and_counts_recall(task: Task) -> None:
    context = bind({**RAG, "k": 1}, task, (), seed=0)
    rows = task.splits["test"]
    assert [context.passages(row)[0].id for row in rows] == [row.evidence[0] for row in rows]
    assert context.ranking_quality(rows) == {"recall": 1.0, "mrr": 1.0, "ndcg": 1.0}
    wrong = [dataclasses.replace(row, evidence=("doc-none",)) for row in rows[:3]]
    halved = context.ranking_quality([*wrong, *rows[3:]])
    assert halved is not None and halved["recall"] == 0.5


def test_a_passage_that_holds_question_and_answer_is_left_out(task: Task, colours: Path) -> None:
    row = task.splits["test"][0]
    with (colours / "corpus.jsonl").open("a") as corpus:
        corpus.write(json.dumps({"id": "faq", "text": f"{row.query} Answer: {row.answer}"}) + "\n")
    context = bind(RAG, load_task(colours), (), seed=0)
    assert context.index is not None
    assert "faq" in {passage.id for passage in context.index.search(row.query, 2)}  # it would have been found
    assert "faq" not in {passage.id for passage in context.passages(row)}
    assert len(context.passages(row)) == 2


def test_evidence_alone_does_not_give_a_row_away(task: Task) -> None:
    row = task.splits["test"][0]
    assert not gives_away(Passage("p", "", f"The answer is {row.answer}."), row)
    assert gives_away(Passage("p", "", f"Q: {row.query.upper()}  A: {row.answer}"), row)


def test_oracle_shows_the_gold_passage_only(task: Task) -> None:
    context = bind({"name": "oracle"}, task, (), seed=0)
    assert [p.id for p in context.passages(task.splits["test"][1])] == ["doc-1"]


@pytest.mark.parametrize("name", ["rag", "oracle"])
def test_a_task_without_documents_has_no_such_cell(colours: Path, name: str) -> None:
    (colours / "corpus.jsonl").unlink()
    with pytest.raises(NotApplicable, match="no documents"):
        bind({**RAG, "name": name}, load_task(colours), (), seed=0)
