"""A Task: what is asked, and how an answer is judged. A task is a folder.

    tasks/ticket_routing/task.yaml            what is asked, how it is scored
    tasks/ticket_routing/train.jsonl          {"id": "train-17", "text": "The gate controller ...", "label": "harbour"}
    tasks/ticket_routing/policy.md            the written rules that context=instructed shows
    tasks/handbook_qa/corpus.jsonl            {"id": "p042", "title": "Ferry Ormen", "text": "..."}

Rows may come from a data set on the hub instead (`source:`), or from a local copy of it (`task.source.path=DIR`).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.errors import UserError
from harness.metrics import BY_KIND

SPLITS = ("train", "validation", "test")
_FIELDS = {
    "name", "about", "probes", "prompt", "answer", "answers_field", "query", "kind", "choices", "choices_from",
    "metric", "evidence", "instructions", "max_new_tokens", "source", "twin",
}  # fmt: skip
_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


@dataclass(frozen=True)
class Example:
    """One row of a task, rendered."""

    id: str
    prompt: str
    # the question as the model reads it, without context
    answer: str
    # what training teaches
    answers: tuple[str, ...]
    # every text that counts as right
    choices: tuple[str, ...]
    # the texts to choose from; empty where the kind is not choice
    query: str
    # what retrieval searches for
    evidence: tuple[str, ...]
    # ids of the gold passages
    slice: str | None
    cluster: str | None


@dataclass(frozen=True)
class Passage:
    """One document of a task's corpus."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Task:
    """A task with its rows; `splits` has train, validation and test, of which train may be empty."""

    name: str
    about: str
    probes: str
    kind: str
    metric: str
    max_new_tokens: int
    instructions: str | None
    splits: Mapping[str, tuple[Example, ...]]
    corpus: tuple[Passage, ...]
    data_sha256: str
    # of the definition, the instructions, all rows and the corpus, as read

    def take(self, split: str, most: int | None, seed: int = 0) -> tuple[Example, ...]:
        """At most `most` rows of a split: a seeded sample, the smaller of two sizes a part of the larger."""
        rows = list(self.splits[split])
        if most is None or most >= len(rows):
            return tuple(rows)
        random.Random(f"{seed}:{self.name}:{split}").shuffle(rows)
        return tuple(rows[:most])


def load_task(folder: Path, source_path: Path | None = None) -> Task:
    """The task in a folder; UserError with file and line where it is malformed.

    `source_path` is a local copy of the rows that the task would take from the hub.
    """
    definition = _read_definition(folder / "task.yaml")
    raw = _read_rows(folder, definition, source_path)
    instructions = _read_instructions(folder, definition)
    splits = {split: _examples(rows, definition) for split, rows in raw.items() if split != "corpus"}
    _refuse_repeated_ids(raw)
    if not splits["test"]:
        raise UserError(f"{folder}: the task has no test rows.")
    return Task(
        name=definition["name"],
        about=definition.get("about", ""),
        probes=definition.get("probes", ""),
        kind=definition["kind"],
        metric=definition["metric"],
        max_new_tokens=int(definition.get("max_new_tokens", 16)),
        instructions=instructions,
        splits=splits,
        corpus=tuple(_passage(row) for row in raw["corpus"]),
        data_sha256=_sha256(definition, instructions, raw),
    )


@dataclass(frozen=True)
class _Row:
    """A row with the place it was read from, for messages: `train.jsonl:17`."""

    place: str
    data: dict[str, Any]


def _read_definition(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError(f"{path.parent}: not a task folder, it has no task.yaml.")
    try:
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as cause:
        raise UserError(f"{path}: not YAML: {_one_line(cause)}") from cause
    if not isinstance(definition, dict):
        raise UserError(f"{path}: expected fields such as name, prompt, answer, kind, metric.")
    for name in ("name", "prompt", "answer", "kind", "metric"):
        if name not in definition:
            raise UserError(f"{path}: the field {name!r} is missing.")
    if unknown := sorted(set(definition) - _FIELDS):
        raise UserError(f"{path}: unknown field {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}.")
    if definition["kind"] not in BY_KIND:
        raise UserError(f"{path}: kind {definition['kind']!r} is not one of {', '.join(BY_KIND)}.")
    if definition["metric"] not in BY_KIND[definition["kind"]]:
        known = ", ".join(BY_KIND[definition["kind"]])
        raise UserError(f"{path}: metric {definition['metric']!r}; a task of kind {definition['kind']} has {known}.")
    if definition["kind"] == "choice" and not (definition.get("choices") or definition.get("choices_from")):
        raise UserError(f"{path}: kind choice needs `choices: [...]` or `choices_from: FIELD`.")
    return definition


def _read_instructions(folder: Path, definition: Mapping[str, Any]) -> str | None:
    if not (name := definition.get("instructions")):
        return None
    path = folder / name
    if not path.exists():
        raise UserError(f"{folder / 'task.yaml'}: instructions {name!r}: no such file beside it.")
    return path.read_text(encoding="utf-8").strip()


def _read_rows(folder: Path, definition: Mapping[str, Any], source_path: Path | None) -> dict[str, list[_Row]]:
    source = definition.get("source")
    if source_path is not None and not source_path.is_dir():
        raise UserError(f"task.source.path={source_path}: no such folder.")
    if source and source_path is None:
        return _download(definition["name"], source)
    data = source_path or folder
    rows = {split: _read_jsonl(data / f"{split}.jsonl", required=split == "test") for split in SPLITS}
    return rows | {"corpus": _read_jsonl(data / "corpus.jsonl", required=False)}


def _read_jsonl(path: Path, *, required: bool) -> list[_Row]:
    if not path.exists():
        if required:
            raise UserError(f"{path}: no such file; a task folder needs at least test.jsonl.")
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            data = json.loads(line)
        except json.JSONDecodeError as cause:
            raise UserError(f"{place}: not JSON: {cause.msg} at column {cause.colno}.") from cause
        if not isinstance(data, dict):
            raise UserError(f"{place}: a row is a JSON object, this is a {type(data).__name__}.")
        if data.get("id") in (None, ""):
            raise UserError(f"{place}: the row has no id; every row needs a unique one.")
        rows.append(_Row(place, data))
    return rows


def _download(name: str, source: Mapping[str, Any]) -> dict[str, list[_Row]]:
    """Rows from the hub, through the datasets library, mapped to rows with ids by the source's own fields."""
    from harness.hub import download_rows

    rows = download_rows(name, source)
    return {split: [_Row(f"{name} {split} row {i}", row) for i, row in enumerate(rows[split])] for split in rows}


def _examples(rows: Iterable[_Row], definition: Mapping[str, Any]) -> tuple[Example, ...]:
    templates = {name: _compile(definition[name], name) for name in ("prompt", "answer", "query") if name in definition}
    return tuple(_example(row, definition, templates) for row in rows)


def _compile(text: str, field: str) -> Any:
    try:
        return _JINJA.from_string(str(text))
    except TemplateError as cause:
        raise UserError(f"task.yaml: {field}: not a Jinja template: {_one_line(cause)}") from cause


def _example(row: _Row, definition: Mapping[str, Any], templates: Mapping[str, Any]) -> Example:
    rendered = {}
    for name, template in templates.items():
        try:
            rendered[name] = template.render(row.data).strip()
        except Exception as cause:  # a template may fail in any way; the row and the field are what a user needs
            raise UserError(f"{row.place}: the template {name!r} fails: {_one_line(cause)}") from cause
    choices = _choices(row, definition)
    if choices and rendered["answer"] not in choices:
        raise UserError(f"{row.place}: the answer {rendered['answer']!r} is not among the choices.")
    return Example(
        id=str(row.data["id"]),
        prompt=rendered["prompt"],
        answer=rendered["answer"],
        answers=_answers(row, definition, rendered["answer"]),
        choices=choices,
        query=rendered.get("query", rendered["prompt"]),
        evidence=_as_strings(row.data.get(definition.get("evidence", ""), ())),
        slice=row.data.get("slice"),
        cluster=row.data.get("cluster"),
    )


def _choices(row: _Row, definition: Mapping[str, Any]) -> tuple[str, ...]:
    if definition["kind"] != "choice":
        return ()
    if field := definition.get("choices_from"):
        if field not in row.data:
            raise UserError(f"{row.place}: no field {field!r}, from which the choices come.")
        return _as_strings(row.data[field])
    return _as_strings(definition["choices"])


def _answers(row: _Row, definition: Mapping[str, Any], answer: str) -> tuple[str, ...]:
    """All accepted answers: the row's field that `answers_field` names, the taught one always among them."""
    accepted = _as_strings(row.data.get(definition.get("answers_field", ""), ()))
    return tuple(dict.fromkeys((answer, *accepted)))


def _as_strings(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(str(v) for v in values)


def _passage(row: _Row) -> Passage:
    if not row.data.get("text"):
        raise UserError(f"{row.place}: the passage has no text.")
    return Passage(str(row.data["id"]), str(row.data.get("title", "")), str(row.data["text"]))


def _refuse_repeated_ids(raw: Mapping[str, list[_Row]]) -> None:
    """Ids are unique over all splits, since items are paired by id; corpus ids are their own."""
    for splits in (SPLITS, ("corpus",)):
        seen: dict[str, str] = {}
        for row in (row for split in splits for row in raw[split]):
            if first := seen.get(str(row.data["id"])):
                raise UserError(f"{row.place}: the id {row.data['id']!r} stands already at {first}.")
            seen[str(row.data["id"])] = row.place


def _sha256(definition: Mapping[str, Any], instructions: str | None, raw: Mapping[str, list[_Row]]) -> str:
    """Content hash that does not depend on where the rows came from."""
    shown = {name: value for name, value in definition.items() if name != "source"}
    rows = {split: [row.data for row in raw[split]] for split in raw}
    text = json.dumps([shown, instructions, rows], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _one_line(cause: Exception) -> str:
    return " ".join(str(cause).split())
