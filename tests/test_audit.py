"""What an audit finds in data that was spoilt on purpose."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.audit import audit, write_clean
from harness.cli import app
from harness.tasks.definition import load_task
from tests.factories import write_rows

WORDS = """
harbour lantern copper violin meadow thunder biscuit anchor ribbon granite pepper saddle willow compass ember feather
lagoon marble nutmeg orchard paddle quarry raven salmon timber umbrella velvet walnut yonder zephyr
"""


def question(seed: str) -> str:
    return "Tell me of " + " ".join(random.Random(seed).sample(WORDS.split(), 12))


def row(split: str, i: int, **more: Any) -> dict[str, Any]:
    return {"id": f"{split}-{i}", "q": question(f"{split}{i}"), "gold": f"number {i % 5}", "doc": [f"d{i % 5}"], **more}


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    home = tmp_path / "clean"
    home.mkdir()
    definition = {
        "name": "clean", "prompt": "{{ q }}", "answer": "{{ gold }}", "kind": "text", "metric": "token_f1",
        "evidence": "doc",
    }  # fmt: skip
    (home / "task.yaml").write_text(json.dumps(definition))
    for split, size in (("train", 20), ("validation", 5), ("test", 10)):
        write_rows(home / f"{split}.jsonl", [row(split, i) for i in range(size)])
    write_rows(home / "corpus.jsonl", [{"id": f"d{i}", "text": f"It is number {i}."} for i in range(5)])
    return home


def spoil(folder: Path, file: str, *rows: dict[str, Any]) -> None:
    with (folder / file).open("a") as lines:
        lines.writelines(json.dumps(one) + "\n" for one in rows)


def kinds(folder: Path) -> list[str]:
    return [defect.kind for defect in audit(folder).defects]


def test_clean_data_has_no_defect(clean: Path) -> None:
    found = audit(clean)
    assert found.defects == []
    assert found.rows == {"train": 20, "validation": 5, "test": 10}
    assert set(found.baselines) == {"commonest answer", "nearest row (embeddings)"}
    assert found.items_needed == {"2 points": 3925, "5 points": 628}


def test_a_repeated_id_is_found_with_its_line(clean: Path) -> None:
    spoil(clean, "test.jsonl", row("test", 0))
    (defect,) = audit(clean).defects
    assert (defect.kind, defect.where) == ("repeated_id", f"{clean / 'test.jsonl'}:11")


@pytest.mark.parametrize("by_meaning", [True, False])
def test_a_test_item_copied_into_training_with_two_words_changed_is_found_and_cleaned(
    clean: Path, tmp_path: Path, by_meaning: bool
) -> None:
    words = question("test3").split()
    words[4], words[9] = "elsewhere", "somehow"
    spoil(clean, "train.jsonl", row("train", 98, q=" ".join(words), gold="number 3"))
    spoil(clean, "train.jsonl", row("train", 99, q=" ".join(words), gold="number 4"))  # another answer: no copy
    found = audit(clean, by_meaning=by_meaning)
    assert [(d.kind, d.where) for d in found.defects] == [("copied_item", "test-3 and train-98")]
    write_clean(clean, found, tmp_path / "cleaned")
    ids = {example.id for example in load_task(tmp_path / "cleaned").splits["train"]}
    assert "train-98" not in ids and "train-99" in ids
    assert audit(tmp_path / "cleaned").defects == []


def test_without_the_embedding_model_an_audit_says_what_it_skipped(clean: Path) -> None:
    found = audit(clean, by_meaning=False)
    assert set(found.baselines) == {"commonest answer"}
    assert [note.split(":")[0] for note in found.notes] == ["skipped"]


def test_a_gold_answer_that_its_own_scorer_rejects_is_found(clean: Path) -> None:
    definition = clean / "task.yaml"
    definition.write_text(
        json.dumps({**json.loads(definition.read_text()), "kind": "number", "metric": "number_match"})
    )
    spoil(clean, "test.jsonl", row("test", 50, gold="unknown"))
    assert "rejected_answer" in kinds(clean)


def test_evidence_that_is_missing_or_silent_is_found(clean: Path) -> None:
    spoil(clean, "test.jsonl", row("test", 50, doc=["d9"]), row("test", 51, doc=["d4"]))
    assert kinds(clean) == ["missing_evidence", "silent_evidence"]


def test_an_answer_that_stands_in_the_prompt_is_found(clean: Path) -> None:
    spoil(clean, "test.jsonl", *(row("test", 60 + i, q=f"{question(str(i))}, number {(60 + i) % 5}") for i in range(5)))
    assert kinds(clean) == ["leaked_answer"]


def test_one_label_is_found_and_the_labels_are_counted(colours: Path) -> None:
    assert audit(colours).labels["train"] == {"red": 4, "green": 4, "blue": 4}
    rows = [{"id": f"t{i}", "text": question(str(i)), "label": "red", "doc_id": "doc-0"} for i in range(6)]
    write_rows(colours / "train.jsonl", rows)
    assert "one_label" in kinds(colours)


def test_what_a_template_adds_makes_no_two_questions_alike(clean: Path) -> None:
    definition = json.loads((clean / "task.yaml").read_text())
    frame = "A long introduction that every single prompt of this task has in common, word by word: {{ q }} Answer now."
    (clean / "task.yaml").write_text(json.dumps({**definition, "prompt": frame}))
    write_rows(
        clean / "test.jsonl", [row("test", i, q=f"{WORDS.split()[i]} {WORDS.split()[-i - 1]}") for i in range(9)]
    )
    write_rows(clean / "train.jsonl", [row("train", i, q=f"{WORDS.split()[i + 9]} {i}") for i in range(9)])
    assert kinds(clean) == []


def test_json_is_alone_on_standard_output(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def noting(model: str) -> tuple[None, None]:
        print("converting a model, once")
        return None, None

    monkeypatch.setattr("harness.audit.model_window", noting)
    done = CliRunner().invoke(app, ["audit", str(clean), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["defects"] == []
    assert "converting" in done.stderr
