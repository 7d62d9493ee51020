"""What a task's own scorer makes of a completion."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.paths import TASKS
from harness.tasks.definition import load_task
from harness.tasks.scoring import scorer
from harness.tasks.sql import ROWS, Database
from harness.tasks.task import SPLITS, Task
from tests.factories import write_rows


@pytest.fixture(autouse=True)
def patient_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """No query that ends is stopped, however slow the machine is."""
    monkeypatch.setattr(Database.__init__, "__defaults__", ("database", 600.0, ROWS))


OWN = [path.parent.name for path in sorted(TASKS.glob("*/test.jsonl"))]


def write_task(tmp_path: Path, rows: list[dict[str, Any]], files: dict[str, str], **definition: Any) -> Path:
    """A task folder with test rows and files beside it."""
    home = tmp_path / "task"
    home.mkdir()
    (home / "task.yaml").write_text(json.dumps({"name": "t", "prompt": "{{ q }}", **definition}))
    for name, text in files.items():
        (home / name).write_text(text)
    write_rows(home / "test.jsonl", rows)
    return home


def judge(task: Task, completion: str, row: int = 0) -> dict[str, float]:
    return scorer(task)(completion, task.splits["test"][row])


def test_json_is_judged_by_fields_schema_and_whole(tmp_path: Path) -> None:
    schema = {"type": "object", "required": ["net"], "properties": {"net": {"type": "number"}}}
    row = {"id": "a", "q": "?", "gold": {"net": 12.5, "tags": ["x", "y"], "ok": True}}
    task = load_task(
        write_task(
            tmp_path, [row], {"s.json": json.dumps(schema)},
            kind="json", metric="field_f1", answer="{{ gold | tojson }}", schema="s.json",
        )
    )  # fmt: skip
    assert judge(task, json.dumps(row["gold"])) == {"field_f1": 1, "exact_json": 1, "valid_json": 1}
    assert judge(task, '```json\n{"net": 12.50, "tags": ["y", "x"], "ok": true}\n```')["exact_json"] == 1
    assert judge(task, '{"net": "12.5", "tags": ["x"]}') == {
        "field_f1": pytest.approx(2 / 6),
        "exact_json": 0,
        "valid_json": 0,
    }
    assert judge(task, '{"net": 12.5, "tags": ["x", "y"], "ok": 1}')["exact_json"] == 0  # 1 is not true
    for broken in ("", "12.5", "{net: 12.5}", '{"net": 12.5} and so on', "[" * 100_000):
        assert judge(task, broken) == {"field_f1": 0, "exact_json": 0, "valid_json": 0}


def test_sql_is_judged_by_what_it_returns(tmp_path: Path) -> None:
    script = "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2);"
    task = load_task(
        write_task(
            tmp_path, [{"id": "a", "q": "?", "sql": "SELECT SUM(a) FROM t"}], {"d.sql": script},
            kind="sql", metric="execution_accuracy", answer="{{ sql }}", database="d.sql",
        )
    )  # fmt: skip
    assert judge(task, "SELECT 1 + a FROM t WHERE a = 2") == {"execution_accuracy": 1, "valid_sql": 1}
    assert judge(task, "```sql\nSELECT 3;\n```") == {"execution_accuracy": 1, "valid_sql": 1}
    assert judge(task, "SELECT a FROM t") == {"execution_accuracy": 0, "valid_sql": 1}
    assert judge(task, "DROP TABLE t") == {"execution_accuracy": 0, "valid_sql": 0}


def test_an_unanswerable_question_wants_abstention_and_nothing_else(tmp_path: Path) -> None:
    rows = [{"id": "a", "q": "?", "gold": "not in the handbook"}, {"id": "b", "q": "?", "gold": "40"}]
    task = load_task(
        write_task(
            tmp_path, rows, {}, kind="text", metric="token_f1", answer="{{ gold }}", abstains="not in the handbook"
        )
    )
    said = judge(task, "It is not in the handbook.")
    assert (said["token_f1"], said["exact_match"], said["unsupported_answer"]) == (1, 1, 0)
    guessed = judge(task, "the handbook")
    assert (guessed["token_f1"], guessed["unsupported_answer"]) == (0, 1)
    assert judge(task, "not in the handbook", row=1)["needlessly_abstained"] == 1
    assert judge(task, "40", row=1)["token_f1"] == 1


def test_an_outdated_answer_is_told_from_a_wrong_one(tmp_path: Path) -> None:
    row = {"id": "a", "q": "?", "gold": "Quay 4", "old": ["Quay 2"]}
    task = load_task(
        write_task(tmp_path, [row], {}, kind="text", metric="token_f1", answer="{{ gold }}", outdated_field="old")
    )
    assert [judge(task, text)["outdated"] for text in ("Quay 2", "Quay 4", "Quay 9")] == [1, 0, 0]


@pytest.mark.parametrize(
    "needs", [{"kind": "sql", "metric": "execution_accuracy"}, {"kind": "json", "metric": "field_f1"}]
)
def test_what_a_kind_needs_is_asked_for(tmp_path: Path, needs: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"needs `(database|schema): FILE`"):
        load_task(write_task(tmp_path, [{"id": "a", "q": "?"}], {}, answer="x", **needs))


@pytest.mark.parametrize("name", OWN)
def test_gold_answers_score_one_and_silence_nothing(name: str) -> None:
    task = load_task(TASKS / name)
    judge = scorer(task)
    for example in (example for split in SPLITS for example in task.splits[split]):
        assert judge(example.answer, example)[task.metric] == pytest.approx(1), example.id
        assert judge("", example)[task.metric] == 0, example.id
