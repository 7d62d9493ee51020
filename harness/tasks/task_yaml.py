"""What task.yaml may say, as one type: its fields, what each may be, and what a kind of task needs."""

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
"""What each kind of task may have as its primary metric."""
Ours = Literal["train", "validation", "test", "all"]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class HoldOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of every so many training rows becomes validation."""

    every: Annotated[int, msgspec.Meta(ge=2)]


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the one split that the hub has is cut: shares, by the hash of a field."""

    by: str
    train: Share
    validation: Share
    test: Share


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row for each value of a field; what the others say is collected in lists."""

    by: str
    collect: dict[str, str]
    """Our field: the hub's."""
    splits: list[str]


class CorpusFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields whose distinct values become the documents."""

    text: str
    title: str = ""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows of a data set on the hub (`harness.tasks.hub_dataset`)."""

    hub: str | None = None
    """Its id; None if there are only local copies."""
    config: str | None = None
    revision: str | None = None
    local: str | None = None
    """The name of its folder among local copies."""
    splits: dict[Ours, str] = {}
    """Ours: the hub's."""
    fields: dict[str, str] = {}
    """A field of ours from an expression over the hub's row."""
    corpus: CorpusFields | None = None
    hold_out: HoldOut | None = None
    group: Group | None = None
    cut: Cut | None = None


class TaskDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of task.yaml. A template is Jinja over a row."""

    name: str
    about: str = ""
    probes: str = ""
    """The axis: behaviour | knowledge | format | ..."""
    kind: Literal[tuple(BY_KIND)]  # type: ignore[valid-type]
    metric: str
    prompt: str
    """A template: the question as the model reads it."""
    answer: str
    """A template: what training teaches, and one of the answers that count as right."""
    answers_field: str = ""
    """The row's field with further answers that count as right."""
    query: str | None = None
    """A template: what retrieval searches for; None: the prompt."""
    choices: list[str | float] = []
    """The texts to choose from; one with a brace is a template."""
    choices_from: str | None = None
    """The row's field with its own choices."""
    evidence: str = ""
    """The row's field with the ids of its gold passages."""
    outdated_field: str = ""
    """The row's field with what was right before the facts changed."""
    abstains: str | None = None
    """What to answer if the documents do not say."""
    instructions: str | None = None
    """The file with the policy that context=instructed shows."""
    max_new_tokens: Positive = 16
    corpus: str = "corpus.jsonl"
    """The file or folder with the documents."""
    schema: str | None = None
    """The file with the JSON Schema of an answer (kind json)."""
    database: str | list[str] = []
    """SQL scripts, on each of which a query must be right (kind sql)."""
    rules: str | None = None
    """The file with what a reply must keep (kind text)."""
    source: Source | None = None
    """Where the rows come from, if not from files beside task.yaml."""
    leave_out_copies: bool = False
    """Whether rows that a later split repeats are left out."""
    revises: str | None = None
    """The folder of the task whose training rows these are."""
    twin: str | None = None
    """The public task that asks the same of a method."""
    predicted: list[str] = []
    """Of the order of methods, before any has run: chains such as "lora > few_shot >= zero_shot"."""

    @property
    def databases(self) -> list[str]:
        return [self.database] if isinstance(self.database, str) else self.database


def read_definition(folder: Path) -> dict[str, Any]:
    """What a folder's task.yaml says, unchecked; UserError if it is missing or no mapping."""
    path = folder / "task.yaml"
    if not path.exists():
        raise UserError(f"{folder}: not a task folder, it has no task.yaml.")
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected fields such as name, prompt, answer, kind, metric.")
    return values


def checked(path: Path, values: Mapping[str, Any]) -> TaskDefinition:
    """The definition, typed; UserError with file and field if a value, the metric or what the kind needs is wrong."""
    task = typed(values, TaskDefinition, f"{path}: ")
    if task.metric not in BY_KIND[task.kind]:
        raise UserError(
            f"{path}: metric={task.metric!r}; a task of kind {task.kind} has {', '.join(BY_KIND[task.kind])}."
        )
    if task.kind == "choice" and not (task.choices or task.choices_from):
        raise UserError(f"{path}: kind choice needs `choices: [...]` or `choices_from: FIELD`.")
    needed = {"database": task.kind == "sql", "schema": task.kind == "json", "rules": "rules_kept" in task.metric}
    for name, applies in needed.items():
        if applies and not getattr(task, name):
            raise UserError(f"{path}: {task.metric} needs `{name}: FILE`.")
    return task
