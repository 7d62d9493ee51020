"""The committed tasks."""

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
