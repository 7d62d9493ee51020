"""Rows that stand in two splits."""

from pathlib import Path

import yaml

from harness.audit import audit
from harness.tasks.definition import load_task
from harness.tasks.duplicates import without_copies
from tests.factories import write_rows

DEFINITION = {
    "name": "t", "prompt": "Which queue?\n{{ text }}", "answer": "{{ label }}", "kind": "choice",
    "choices": ["quay", "harbour"], "metric": "accuracy",
}  # fmt: skip
LINE = "the gate controller of crane {} at quay seven reports a broken sensor"


def keep_without_copies(**splits: list[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    left = without_copies(splits, question=lambda row: row[0], answer=lambda row: row[1])
    return {split: list(rows) for split, rows in left.items()}


def test_a_later_split_keeps_its_row_and_an_earlier_one_loses_the_copy() -> None:
    copy, other = (LINE.format("two"), "quay"), ("please send last month's invoice again", "quay")
    left = keep_without_copies(train=[copy, other], validation=[copy], test=[(LINE.format("three"), "quay")])
    assert left == {"train": [other], "validation": [], "test": [(LINE.format("three"), "quay")]}


def test_another_answer_another_wording_or_the_same_split_is_no_copy() -> None:
    again, changed = (LINE.format("two"), "quay"), (LINE.format("two"), "harbour")
    shorter = ("crane two sensor broken", "quay")
    assert keep_without_copies(train=[again, again, shorter], test=[changed]) == {
        "train": [again, again, shorter],
        "test": [changed],
    }


def test_a_task_that_says_so_is_read_without_copies_and_passes_the_audit(tmp_path: Path) -> None:
    words = ["north", "amber", "velvet", "seven", "copper", "meadow", "lantern", "thirteen"]
    rows = [{"id": f"train-{word}", "text": f"{word} {word}s went missing", "label": "harbour"} for word in words]
    write_rows(tmp_path / "train.jsonl", [*rows, {"id": "train-copy", "text": LINE.format("two"), "label": "quay"}])
    write_rows(tmp_path / "test.jsonl", [{"id": "test-0", "text": LINE.format("three"), "label": "quay"}])
    for leaving, defects in ((False, ["copied_item"]), (True, [])):
        (tmp_path / "task.yaml").write_text(yaml.safe_dump({**DEFINITION, "leave_out_copies": leaving}))
        found = audit(tmp_path)
        assert [d.kind for d in found.defects if d.kind == "copied_item"] == defects
        task = load_task(tmp_path)
        assert ("train-copy" in {e.id for e in task.splits["train"]}) is not leaving
        assert task.left_out == ({"train": 1} if leaving else {})
    assert any("1 rows of train are also in a later split" in note for note in found.notes)
