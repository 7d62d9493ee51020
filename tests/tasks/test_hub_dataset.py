"""Rows of a data set through the datasets library; a folder stands for the hub, the library is the real one."""

from pathlib import Path
from typing import Any

import pytest

from harness.tasks.hub_dataset import download_rows
from harness.tasks.task_yaml import Source
from harness.typed import typed
from tests.factories import write_rows


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    rows = [{"text": f"text {i}", "label": i % 2, "page": f"page {i // 4}"} for i in range(40)]
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "test.jsonl", rows[:8])
    return folder


def download(hub: Path, **source: Any) -> dict[str, list[dict[str, Any]]]:
    values = {"hub": str(hub), "splits": {"train": "train", "test": "test"}, **source}
    return download_rows("t", typed(values, Source, ""))


def test_rows_get_ids_and_fields_from_expressions(hub: Path) -> None:
    rows = download(hub, fields={"name": "['no', 'yes'][label]"})
    assert rows["train"][3] == {"id": "train-3", "text": "text 3", "label": 1, "page": "page 0", "name": "yes"}
    assert (len(rows["train"]), len(rows["validation"]), len(rows["test"])) == (40, 0, 8)


def test_held_out_rows_leave_training(hub: Path) -> None:
    rows = download(hub, hold_out={"every": 10})
    assert [row["id"] for row in rows["validation"]] == ["train-0", "train-10", "train-20", "train-30"]
    assert len(rows["train"]) == 36


def test_one_split_is_cut_and_never_through_a_document(hub: Path) -> None:
    cut = {"by": "doc_id", "train": 0.5, "validation": 0.2, "test": 0.3}
    rows = download(hub, splits={"all": "train"}, corpus={"text": "page"}, cut=cut)
    documents = [{row["doc_id"] for row in rows[split]} for split in ("train", "validation", "test")]
    assert sum(map(len, documents)) == len(rows["corpus"]) == 10
    assert len(set.union(*documents)) == 10
    assert sum(len(rows[split]) for split in ("train", "validation", "test")) == 40
    assert {p["id"]: p["text"] for p in rows["corpus"]}[rows["train"][0]["doc_id"]] == rows["train"][0]["page"]


def test_rows_of_one_meaning_are_grouped_with_all_their_sentences(hub: Path) -> None:
    rows = download(hub, group={"by": "page", "collect": {"texts": "text"}, "splits": ["test"]})
    assert [row["texts"] for row in rows["test"]] == [
        [f"text {i}" for i in range(4)],
        [f"text {i}" for i in range(4, 8)],
    ]
    assert len(rows["train"]) == 40


def test_expressions_take_texts_apart(hub: Path) -> None:
    fields = {
        "pairs": "dict('name[Blue], near[The Six]' | findall('\\\\s*([^,\\\\[\\\\]]+)\\\\[([^\\\\]]*)\\\\]'))",
        "bare": "'a<<1>>b' | without('<<[^>]*>>')",
    }
    row = download(hub, fields=fields)["train"][0]
    assert (row["pairs"], row["bare"]) == ({"name": "Blue", "near": "The Six"}, "ab")
