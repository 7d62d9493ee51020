"""Rows of a data set on the hub, mapped to a task's rows by a few lines of task.yaml.

    source:
      hub: PolyAI/banking77
      revision: refs/convert/parquet
      splits: {train: train, validation: "train[-500:]", test: test}
      fields: {label: "labels[label]"}        # optional: a field from an expression over the hub's row
      corpus: {text: context, title: title}   # optional: distinct values of a field become the corpus

A row without an id gets one: `<split>-<number>`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.errors import UserError

_JINJA = ImmutableSandboxedEnvironment()


def download_rows(name: str, source: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows for train, validation, test and corpus; UserError where there is neither a network nor a filled cache."""
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": [], "corpus": []}
    for split, wanted in source["splits"].items():
        loaded = _load(name, source, wanted)
        rows[split] = [_row(row, source, loaded, f"{split}-{i}") for i, row in enumerate(loaded)]
    if mapping := source.get("corpus"):
        rows["corpus"] = _corpus(rows, mapping)
    return rows


def _load(name: str, source: Mapping[str, Any], split: str) -> Any:
    try:
        import datasets

        return datasets.load_dataset(source["hub"], source.get("config"), split=split, revision=source.get("revision"))
    except Exception as cause:  # the library raises whatever its network stack raises
        raise UserError(
            f"task={name}: {source['hub']} could not be loaded from the hub ({type(cause).__name__}). "
            f"Without a network, give a local copy: task.source.path=DIR with train|validation|test.jsonl."
        ) from cause


def _row(row: Mapping[str, Any], source: Mapping[str, Any], loaded: Any, number: str) -> dict[str, Any]:
    labels = getattr(loaded.features.get("label"), "names", None)
    values = dict(row) | {"labels": labels}
    made = {field: _value(template, values) for field, template in source.get("fields", {}).items()}
    row = {"id": str(row.get("id", number)), **{k: v for k, v in row.items() if k != "id"}, **made}
    if mapping := source.get("corpus"):
        row["doc_id"] = _document_id(row[mapping["text"]])
    return row


def _value(template: str, values: Mapping[str, Any]) -> Any:
    """A Jinja expression over the hub's row: `labels[label]`, `answers.text` (a list stays a list)."""
    return _JINJA.compile_expression(template)(**values)


def _corpus(rows: Mapping[str, list[dict[str, Any]]], mapping: Mapping[str, str]) -> list[dict[str, Any]]:
    passages = {
        row["doc_id"]: {
            "id": row["doc_id"],
            "title": row.get(mapping.get("title", ""), ""),
            "text": row[mapping["text"]],
        }
        for split in ("train", "validation", "test")
        for row in rows[split]
    }
    return list(passages.values())


def _document_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
