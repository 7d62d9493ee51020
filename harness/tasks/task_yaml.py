"""The schema of task.yaml: its fields, their types, and the fields that each kind of task needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from harness.errors import UserError
from harness.tasks.metrics import FROM_ANSWERS
from harness.typed import read_yaml, typed

BY_KIND: dict[str, tuple[str, ...]] = {
    **FROM_ANSWERS,
    "text": (*FROM_ANSWERS["text"], "rules_kept", "all_rules_kept"),
    "json": ("field_f1", "exact_json", "valid_json"),
    "sql": ("execution_accuracy", "valid_sql"),
}
"""The metrics that each kind of task may have as its primary one."""
SplitName = Literal["train", "validation", "test", "all"]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class HoldOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every `every`-th training row moves to validation."""

    every: Annotated[int, msgspec.Meta(ge=2)]


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Divide a single hub split by the hash of field `by`, into these shares."""

    by: str
    train: Share
    validation: Share
    test: Share


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Merge the rows with the same value of `by` into one; the `collect` fields become lists."""

    by: str
    collect: dict[str, str]
    """New field: the hub's field."""
    splits: list[str]


class CorpusFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hub fields whose distinct values become the documents."""

    text: str
    title: str = ""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A data set on the hub that the rows come from (`harness.tasks.hub_dataset`)."""

    hub: str | None = None
    """The data set's id; None if it exists only as local copies."""
    config: str | None = None
    revision: str | None = None
    local: str | None = None
    """The name of its folder among local copies."""
    splits: dict[SplitName, str] = {}
    """The task's split: the hub's split."""
    fields: dict[str, str] = {}
    """The task's field: an expression over the hub's row."""
    corpus: CorpusFields | None = None
    hold_out: HoldOut | None = None
    group: Group | None = None
    cut: Cut | None = None


class TaskDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of task.yaml. Templates are Jinja over a row."""

    name: str
    about: str = ""
    probes: str = ""
    """The ability that the task tests: behaviour | knowledge | format | ..."""
    kind: Literal[tuple(BY_KIND)]  # type: ignore[valid-type]
    metric: str
    prompt: str
    """A template: the question as the model reads it."""
    answer: str
    """A template: the training target, and one of the accepted answers."""
    answers_field: str = ""
    """The row's field with further accepted answers."""
    query: str | None = None
    """A template: the retrieval query; None: the prompt."""
    choices: list[str | float] = []
    """The texts to choose from; a text with a brace is a template."""
    choices_from: str | None = None
    """The row's field with the choices, if they differ between rows."""
    evidence: str = ""
    """The row's field with the ids of its gold passages."""
    outdated_field: str = ""
    """The row's field with the answers that were right before the facts changed."""
    abstains: str | None = None
    """The answer to give if the documents do not contain one."""
    instructions: str | None = None
    """The file with the policy that context=instructed adds to the prompt."""
    max_new_tokens: Positive = 16
    corpus: str = "corpus.jsonl"
    """The file or folder with the documents."""
    schema: str | None = None
    """The file with the JSON Schema of an answer (kind json)."""
    database: str | list[str] = []
    """SQL scripts; a query must be right on all of them (kind sql)."""
    rules: str | None = None
    """The file with the rules that a reply must keep (kind text)."""
    source: Source | None = None
    """The data set with the rows, if they are not in files beside task.yaml."""
    leave_out_copies: bool = False
    """Whether to drop rows that a later split repeats."""
    revises: str | None = None
    """The folder of the task that the training and validation rows come from."""
    twin: str | None = None
    """The public task that tests the same ability."""
    predicted: list[str] = []
    """Predicted orders of methods, written before any run: chains such as "lora > few_shot >= zero_shot"."""

    @property
    def databases(self) -> list[str]:
        return [self.database] if isinstance(self.database, str) else self.database


def read_definition(folder: Path) -> dict[str, Any]:
    """The fields of a folder's task.yaml, unchecked; UserError if it is missing or not a mapping."""
    path = folder / "task.yaml"
    if not path.exists():
        raise UserError(f"{folder}: not a task folder, it has no task.yaml.")
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected fields such as name, prompt, answer, kind, metric.")
    return values


def checked(path: Path, values: Mapping[str, Any]) -> TaskDefinition:
    """The typed definition; UserError with file and field if a value or the metric is wrong or a field is missing."""
    task = typed(values, TaskDefinition, f"{path}: ")
    if task.metric not in BY_KIND[task.kind]:
        raise UserError(
            f"{path}: metric={task.metric!r}: expected one of {', '.join(BY_KIND[task.kind])} for kind {task.kind}."
        )
    if task.kind == "choice" and not (task.choices or task.choices_from):
        raise UserError(f"{path}: kind choice needs `choices: [...]` or `choices_from: FIELD`.")
    needed = {"database": task.kind == "sql", "schema": task.kind == "json", "rules": "rules_kept" in task.metric}
    for name, applies in needed.items():
        if applies and not getattr(task, name):
            raise UserError(f"{path}: {task.metric} needs `{name}: FILE`.")
    return task
