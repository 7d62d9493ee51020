"""Task folders: what is read, and what is refused with file and line."""

import json
import shutil
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.tasks.definition import load_task


def append(folder: Path, text: str, file: str = "test.jsonl") -> None:
    with (folder / file).open("a") as lines:
        lines.write(text + "\n")


def test_a_task_folder_becomes_examples(colours: Path) -> None:
    task = load_task(colours)
    first = task.splits["test"][0]
    assert first.prompt == "Which colour? the red box number 0 of test"
    assert (first.answer, first.choices, first.evidence) == ("red", ("red", "green", "blue"), ("doc-0",))
    assert [len(task.splits[split]) for split in ("train", "validation", "test")] == [12, 4, 6]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x", ', r"test\.jsonl:7: not JSON"),
        ('{"text": "a", "label": "red"}', r"test\.jsonl:7: the row has no id"),
        ('["a"]', r"test\.jsonl:7: a line is a JSON object"),
        ('{"id": "test-0", "text": "a", "label": "red"}', r"test\.jsonl:7: the id 'test-0' is already used at .*:1"),
        ('{"id": "train-0", "text": "a", "label": "red"}', r"test\.jsonl:7: the id 'train-0' is already used"),
        ('{"id": "x", "text": "a", "label": "mauve"}', r"test\.jsonl:7: the answer 'mauve' is not among"),
        ('{"id": "x", "label": "red"}', r"test\.jsonl:7: the template 'prompt' fails: 'text' is undefined"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(colours: Path, line: str, message: str) -> None:
    append(colours, line)
    with pytest.raises(UserError, match=message):
        load_task(colours)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("kind: choice", "kind: guess", "kind='guess': expected one of choice, json, number, sql, text"),
        ("metric: accuracy", "metric: token_f1", "metric='token_f1'"),
        ("about:", "abuot:", "abuot: not known; known are about, abstains"),
        ("answer:", "about2:", "about2: not known"),
        ("instructions: policy.md", "instructions: rules.md", "no such file beside it"),
        ("{{ text }}", "{{ text", "not a Jinja template"),
    ],
)
def test_a_bad_definition_is_refused(colours: Path, before: str, after: str, message: str) -> None:
    definition = colours / "task.yaml"
    definition.write_text(definition.read_text().replace(before, after))
    with pytest.raises(UserError, match=message):
        load_task(colours)


def test_a_template_cannot_reach_python(colours: Path) -> None:
    definition = colours / "task.yaml"
    definition.write_text(definition.read_text().replace("{{ text }}", "{{ text.__class__.__mro__ }}"))
    with pytest.raises(UserError, match="fails"):
        load_task(colours)


def test_a_smaller_sample_is_part_of_a_larger_one_and_the_test_items_do_not_follow_the_seed(colours: Path) -> None:
    task = load_task(colours)
    small, large = task.take("train", 4, seed=3), task.take("train", 8, seed=3)
    assert {e.id for e in small} < {e.id for e in large}
    assert task.take("train", 4, seed=4) != small
    assert task.take("test", 3) == task.take("test", 3)


def test_the_hash_follows_the_rows_and_not_the_place(colours: Path, tmp_path: Path) -> None:
    before = load_task(colours).data_sha256
    copy = shutil.copytree(colours, tmp_path / "elsewhere")
    assert load_task(copy).data_sha256 == before
    append(copy, json.dumps({"id": "new", "text": "a", "label": "red", "doc_id": "doc-0"}))
    assert load_task(copy).data_sha256 != before


def test_a_line_ends_at_a_newline_and_nowhere_else(colours: Path) -> None:
    rows = (colours / "test.jsonl").read_text().strip().split("\n")
    strange = json.dumps({**json.loads(rows[0]), "text": "one\u2028two\x85three"}, ensure_ascii=False)
    (colours / "test.jsonl").write_text("\n".join([strange, *rows[1:]]) + "\n")
    assert "one\u2028two\x85three" in load_task(colours).splits["test"][0].prompt


def test_a_choice_may_be_a_template_and_rows_may_lie_in_a_folder_of_copies(tmp_path: Path) -> None:
    home, copies = tmp_path / "pairs", tmp_path / "copies"
    (copies / "own_name").mkdir(parents=True)
    home.mkdir()
    (home / "task.yaml").write_text(
        'name: pairs\nprompt: Say it.\nanswer: "{{ good }}"\nkind: choice\nmetric: accuracy\n'
        'choices: ["{{ good }}", "{{ bad }}"]\nsource: {hub: no/where, local: own_name}\n'
    )
    (copies / "own_name" / "test.jsonl").write_text('{"id": "a", "good": "She sings.", "bad": "She sing."}\n')
    (example,) = load_task(home, source_root=copies).splits["test"]
    assert (example.answer, example.choices) == ("She sings.", ("She sings.", "She sing."))
