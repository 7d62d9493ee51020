"""Load a Task from its folder.

    tasks/ticket_routing/task.yaml            prompt and answer templates, metric
    tasks/ticket_routing/train.jsonl          {"id": "train-17", "text": "The gate controller ...", "label": "harbour"}
    tasks/ticket_routing/policy.md            the written rules that context=instructed adds to the prompt
    tasks/handbook_qa/corpus.jsonl            {"id": "p042", "title": "Ferry Ormen", "text": "..."}

Rows may come from a data set on the hub instead (`source:`), or from a local copy of it (`task.source.path=DIR`).
A task that `revises` another shares its training and validation rows, but has a separate test split and separate
documents in which the facts have changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from harness.errors import RepeatedId, UserError
from harness.files import numbered_objects
from harness.tasks.documents import Passage, read_documents
from harness.tasks.duplicates import without_copies
from harness.tasks.reply_rules import Rule, read_rules
from harness.tasks.task import SPLITS, Example, Task
from harness.tasks.task_yaml import Source, TaskDefinition, checked, read_definition
from harness.tasks.templates import template

_CORPUS = "corpus.jsonl"


def load_task(folder: Path, source_path: Path | None = None, source_root: Path | None = None) -> Task:
    """The task in a folder; UserError with file and line if it is malformed.

    `source_path` is a local copy of the rows that the task would download from the hub. `source_root` is a folder of
    such copies, each named by its task's `source: {local: NAME}`.
    """
    values, definition, folders = _definition(folder)
    if source_path is None and source_root is not None and definition.source:
        source_path = source_root / (definition.source.local or definition.name)
    raw = _read_rows(folders, definition, source_path)
    files = _TaskFiles.read(folders, definition)
    _refuse_repeated_ids(raw)
    splits = {split: _examples(raw[split], definition) for split in SPLITS}
    row_counts = {split: len(splits[split]) for split in SPLITS}
    if definition.leave_out_copies:
        splits = without_copies(splits, question=lambda e: e.query, answer=lambda e: e.answer)
    if not splits["test"]:
        raise UserError(f"{folder}: the task has no test rows.")
    corpus = tuple(_passage(row) for row in raw["corpus"])
    return Task(
        name=definition.name,
        about=definition.about,
        probes=definition.probes,
        kind=definition.kind,
        metric=definition.metric,
        max_new_tokens=definition.max_new_tokens,
        instructions=files.instructions,
        splits=splits,
        corpus=corpus,
        training_corpus=tuple(_passage(row) for row in raw["training_corpus"]) if "training_corpus" in raw else corpus,
        data_sha256=_sha256(values, files, raw),
        schema=files.schema,
        databases=files.databases,
        rules=files.rules,
        abstains=definition.abstains,
        twin=definition.twin,
        revises=str(read_definition(folders[-1])["name"]) if len(folders) > 1 else None,
        predicted=tuple(definition.predicted),
        left_out={
            split: count - len(splits[split]) for split, count in row_counts.items() if len(splits[split]) < count
        },
    )


@dataclass(frozen=True)
class _Row:
    """A row with its file and line for messages: `train.jsonl:17`."""

    place: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class _TaskFiles:
    """The contents of the files that task.yaml names."""

    instructions: str | None
    schema: Mapping[str, Any] | None
    databases: dict[str, str]
    rules: tuple[Rule, ...]

    @classmethod
    def read(cls, folders: tuple[Path, ...], definition: TaskDefinition) -> _TaskFiles:
        instructions = _optional_file(folders, "instructions", definition.instructions)
        schema = _optional_file(folders, "schema", definition.schema)
        rules = _optional_file(folders, "rules", definition.rules)
        scripts = [_find_file(folders, "database", name) for name in definition.databases]
        return cls(
            instructions=instructions.read_text(encoding="utf-8").strip() if instructions else None,
            schema=_read_schema(schema) if schema else None,
            databases={path.name: path.read_text(encoding="utf-8") for path in scripts},
            rules=read_rules(rules) if rules else (),
        )


def _definition(folder: Path) -> tuple[dict[str, Any], TaskDefinition, tuple[Path, ...]]:
    """task.yaml as raw values and typed, and the folders to look for its files: the task's, then the revised task's."""
    values = read_definition(folder)
    folders: tuple[Path, ...] = (folder,)
    if revised := values.get("revises"):
        base, _, others = _definition(folder / str(revised))
        values, folders = {**base, **values}, (folder, *others)
    return values, checked(folder / "task.yaml", values), folders


def _optional_file(folders: tuple[Path, ...], field: str, name: str | None) -> Path | None:
    return _find_file(folders, field, name) if name else None


def _find_file(folders: tuple[Path, ...], field: str, name: str) -> Path:
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise UserError(f"{folders[0] / 'task.yaml'}: {field} {name!r}: no such file beside it.")


def _read_schema(path: Path) -> Mapping[str, Any]:
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as cause:
        raise UserError(f"{path}:{cause.lineno}: not JSON: {cause.msg}.") from cause
    if not isinstance(schema, dict):
        raise UserError(f"{path}: a JSON Schema is an object.")
    return schema


def _read_rows(
    folders: tuple[Path, ...], definition: TaskDefinition, source_path: Path | None
) -> dict[str, list[_Row]]:
    if source_path is not None and not source_path.is_dir():
        raise UserError(f"task.source.path={source_path}: no such folder.")
    if definition.source and source_path is None:
        if not definition.source.hub or not definition.source.splits:
            raise UserError(f"{folders[0] / 'task.yaml'}: source without hub and splits: give task.source.path=DIR.")
        return _download(definition.name, definition.source)
    test_folder = source_path or folders[0]
    train_folder = folders[-1] if len(folders) > 1 else test_folder
    rows = {
        "train": _read_jsonl(train_folder / "train.jsonl", required=False),
        "validation": _read_jsonl(train_folder / "validation.jsonl", required=False),
        "test": _read_jsonl(test_folder / "test.jsonl", required=True),
        "corpus": _read_corpus(test_folder, definition.corpus),
    }
    if train_folder != test_folder:
        rows["training_corpus"] = _read_corpus(train_folder, definition.corpus)
    return rows


def _read_corpus(folder: Path, name: str) -> list[_Row]:
    """The documents: corpus.jsonl if it exists, or the file or folder of texts that the task names."""
    path = folder / name
    if path.is_dir():
        return [_Row(str(path / row["id"]), row) for row in read_documents(path)]
    if name != _CORPUS and not path.exists():
        raise UserError(f"{path}: no such file or folder (task.yaml: corpus).")
    return _read_jsonl(path, required=False)


def read_rows(path: Path) -> list[Mapping[str, Any]]:
    """The rows of a JSONL file, each with an id; UserError with file and line if a row is malformed."""
    return [row.data for row in _read_jsonl(path, required=True)]


def _read_jsonl(path: Path, *, required: bool) -> list[_Row]:
    if not path.exists():
        if required:
            raise UserError(f"{path}: no such file; a task folder needs at least test.jsonl.")
        return []
    rows = [_Row(f"{path}:{number}", data) for number, data in numbered_objects(path)]
    for row in rows:
        if row.data.get("id") in (None, ""):
            raise UserError(f"{row.place}: the row has no id; every row needs a unique one.")
    return rows


def _download(name: str, source: Source) -> dict[str, list[_Row]]:
    """Rows from the hub, mapped to the task's fields, each with an id."""
    from harness.tasks.hub_dataset import download_rows

    rows = download_rows(name, source)
    return {split: [_Row(f"{name} {split} row {i}", row) for i, row in enumerate(rows[split])] for split in rows}


def _examples(rows: Iterable[_Row], definition: TaskDefinition) -> tuple[Example, ...]:
    texts = {"prompt": definition.prompt, "answer": definition.answer, "query": definition.query}
    templates = {name: _compile(text, name) for name, text in texts.items() if text is not None}
    templates["choices"] = [_compile(str(c), "choices") if "{" in str(c) else str(c) for c in definition.choices]
    return tuple(_example(row, definition, templates) for row in rows)


def _compile(text: str, field: str) -> Any:
    try:
        return template(text)
    except TemplateError as cause:
        raise UserError(f"task.yaml: {field}: not a Jinja template: {_one_line(cause)}") from cause


def _example(row: _Row, definition: TaskDefinition, templates: Mapping[str, Any]) -> Example:
    rendered = {name: _render(template, name, row) for name, template in templates.items() if name != "choices"}
    choices = _choices(row, definition, templates["choices"])
    if choices and rendered["answer"] not in choices:
        raise UserError(f"{row.place}: the answer {rendered['answer']!r} is not among the choices.")
    return Example(
        id=str(row.data["id"]),
        prompt=rendered["prompt"],
        answer=rendered["answer"],
        answers=_answers(row, definition, rendered["answer"]),
        choices=choices,
        query=rendered.get("query", rendered["prompt"]),
        evidence=_as_strings(row.data.get(definition.evidence, ())),
        slice=row.data.get("slice"),
        cluster=row.data.get("cluster"),
        outdated=_as_strings(row.data.get(definition.outdated_field, ())),
        row=row.data,
    )


def _render(template: Any, name: str, row: _Row) -> str:
    try:
        return str(template.render(row.data)).strip()
    except Exception as cause:  # a template may fail in any way; the user needs the row and the field
        raise UserError(f"{row.place}: the template {name!r} fails: {_one_line(cause)}") from cause


def _choices(row: _Row, definition: TaskDefinition, fixed: list[Any]) -> tuple[str, ...]:
    if definition.kind != "choice":
        return ()
    if field := definition.choices_from:
        if field not in row.data:
            raise UserError(f"{row.place}: no field {field!r}, which `choices_from` names.")
        return _as_strings(row.data[field])
    return tuple(choice if isinstance(choice, str) else _render(choice, "choices", row) for choice in fixed)


def _answers(row: _Row, definition: TaskDefinition, answer: str) -> tuple[str, ...]:
    """All accepted answers: the training target first, then those in the row's `answers_field`."""
    accepted = _as_strings(row.data.get(definition.answers_field, ()))
    return tuple(dict.fromkeys((answer, *accepted)))


def _as_strings(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(str(v) for v in values)


def _passage(row: _Row) -> Passage:
    if not row.data.get("text"):
        raise UserError(f"{row.place}: the passage has no text.")
    return Passage(str(row.data["id"]), str(row.data.get("title", "")), str(row.data["text"]))


def _refuse_repeated_ids(raw: Mapping[str, list[_Row]]) -> None:
    """UserError if an id repeats: items are paired by id over all splits. Corpus ids are checked separately."""
    for parts in (SPLITS, ("corpus",), ("training_corpus",)):
        seen: dict[str, str] = {}
        for row in (row for part in parts for row in raw.get(part, ())):
            if first := seen.get(str(row.data["id"])):
                raise RepeatedId(f"{row.place}: the id {row.data['id']!r} is already used at {first}.")
            seen[str(row.data["id"])] = row.place


def _sha256(values: Mapping[str, Any], files: _TaskFiles, raw: Mapping[str, list[_Row]]) -> str:
    """Content hash; the same whether the rows come from the hub or from a local copy."""
    fields = {name: value for name, value in values.items() if name not in ("source", "twin", "predicted")}
    rows = {split: [row.data for row in raw[split]] for split in raw}
    judging = [files.schema, files.databases, [repr(rule) for rule in files.rules]]
    parts = [fields, files.instructions, rows, *([judging] if any(judging) else [])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _one_line(cause: Exception) -> str:
    return " ".join(str(cause).split())
