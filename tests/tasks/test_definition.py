"""Task folders: what is read, and what is refused with file and line."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.paths import TASKS
from harness.tasks.definition import load_task

GENERATED = {
    "ticket_routing": "text",
    "handbook_qa": "cluster",
    "invoice_extraction": "text",
    "warehouse_sql": "question",
    "clinical_shorthand": "note",
    "house_style": "message",
    "port_log": "message",
}
"""Tasks that a program writes, and a field whose values are in one split only."""
WRITTEN_WITH = {"handbook_qa": ("handbook_qa_revised", "handbook_choice")}
"""Tasks that another's program writes as well."""
PUBLIC = {
    "banking77": "banking77",
    "squad": "squad_xquad_en",
    "gsm8k": "gsm8k",
    "e2e_text": "e2e_nlg",
    "e2e_slots": "e2e_nlg",
    "blimp": "blimp",
}
SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"


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


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_task_is_what_its_generator_writes(name: str, tmp_path: Path) -> None:
    copy = shutil.copytree(TASKS / name, tmp_path / name)
    for other in WRITTEN_WITH.get(name, ()):
        shutil.copytree(TASKS / other, tmp_path / other)
    written = [path for kind in ("*.jsonl", "*.sql") for path in tmp_path.rglob(kind)]
    committed = {path: path.read_bytes() for path in written}
    for path in written:
        path.unlink()
    spec = importlib.util.spec_from_file_location(f"generate_{name}", copy / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.main()
    assert {path: path.read_bytes() for path in written} == committed


@pytest.mark.parametrize(("name", "own"), GENERATED.items())
def test_no_template_and_no_text_is_in_two_splits(name: str, own: str) -> None:
    rows = {
        split: [json.loads(line) for line in (TASKS / name / f"{split}.jsonl").read_text().splitlines()]
        for split in ("train", "validation", "test")
    }
    assert [len(found) for found in rows.values()] in ([600, 300, 1000], [1200, 300, 1000])
    for field in ("template", own):
        kinds = [{row[field].lower() for row in found} for found in rows.values()]
        assert not (kinds[0] & kinds[1] or kinds[0] & kinds[2] or kinds[1] & kinds[2]), field


def test_the_choices_of_the_handbook_are_four_and_only_the_answer_is_right() -> None:
    asked, chosen = load_task(TASKS / "handbook_qa"), load_task(TASKS / "handbook_choice")
    assert chosen.corpus == asked.corpus
    for split, examples in chosen.splits.items():
        answerable = {e.id: e for e in asked.splits[split] if e.answer != asked.abstains}
        assert [e.id for e in examples] == list(answerable)
        for example in examples:
            assert len(set(example.choices)) == 4
            right = answerable[example.id].answers
            assert [choice for choice in example.choices if choice in right] == [example.answer]


def test_handbook_answers_stand_in_their_passage_and_nowhere_in_the_question() -> None:
    task = load_task(TASKS / "handbook_qa")
    text = {passage.id: passage.text for passage in task.corpus}
    for example in (example for split in task.splits.values() for example in split):
        if example.answer == task.abstains:
            assert not example.evidence
            continue
        assert example.answer in text[example.evidence[0]]
        assert example.answer not in example.prompt


def test_a_revised_task_keeps_what_was_taught_and_changes_what_is_asked() -> None:
    before, after = load_task(TASKS / "handbook_qa"), load_task(TASKS / "handbook_qa_revised")
    assert after.splits["train"] == before.splits["train"]
    assert after.splits["validation"] == before.splits["validation"]
    assert after.take("train", 64) == before.take("train", 64)
    assert after.training_corpus == before.corpus != after.corpus
    assert before.training_corpus == before.corpus
    changed = [example for example in after.splits["test"] if example.outdated]
    assert 300 < len(changed) < 500
    assert all(not set(example.outdated) & set(example.answers) for example in changed)


@pytest.mark.parametrize(("name", "folder"), PUBLIC.items())
def test_a_public_task_reads_a_local_copy(name: str, folder: str) -> None:
    source = SHARED_DATA / folder
    if not source.is_dir():
        pytest.skip("the public rows are not beside the project")
    task = load_task(TASKS / name, source)
    assert len(task.splits["test"]) > 100
    assert task.splits["train"] or name == "blimp"


def test_a_public_task_without_a_network_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"could not be loaded from the hub.*task\.source\.path=DIR"):
        load_task(TASKS / "banking77")


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
