"""Rows of a data set on the hub, mapped to a task's rows by a few lines of task.yaml.

    source:
      hub: google/xquad
      config: xquad.en                       # optional
      revision: main                         # optional; a script data set's is refs/convert/parquet
      splits: {train: train, test: test}     # ours: theirs; {all: validation} where the hub has only one
      fields: {label: "labels[label]"}       # optional: a field from an expression over the hub's row
      corpus: {text: context, title: title}  # optional: distinct values of a field become the corpus
      hold_out: {every: 20}                  # optional: each 20th training row becomes validation
      group: {by: mr, collect: {refs: ref}, splits: [test]}         # optional: one row a value, its `ref`s as a list
      cut: {by: doc_id, train: 0.5, validation: 0.15, test: 0.35}   # optional: how `all` is cut, by a field's hash

A row without an id gets one: `<split>-<number>`. Expressions know the row's fields, `labels` (the names of `label`),
`names` (of every labelled field) and two filters: `without(PATTERN)` and `findall(PATTERN)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from harness.errors import UserError
from harness.installation import require_run
from harness.tasks.task_yaml import CorpusFields, Cut, Group, Source
from harness.tasks.templates import expression

Row = dict[str, Any]


def download_rows(name: str, source: Source) -> dict[str, list[Row]]:
    """Rows for train, validation, test and corpus; UserError where there is neither a network nor a filled cache."""
    read: dict[str, list[Row]] = {}
    for split, wanted in source.splits.items():
        loaded = _load(name, source, wanted)
        read[split] = [_row(row, source, loaded, f"{split}-{i}") for i, row in enumerate(loaded)]
    rows: dict[str, list[Row]] = {"train": [], "validation": [], "test": []} | _divided(read, source)
    if group := source.group:
        rows |= {split: _grouped(rows[split], group) for split in group.splits}
    return rows | {"corpus": _corpus(rows, source.corpus) if source.corpus else []}


def _divided(read: dict[str, list[Row]], source: Source) -> dict[str, list[Row]]:
    """The splits that the hub lacks, by the task's stated rule."""
    if source.hold_out:
        every, rows = source.hold_out.every, read["train"]
        kept = [row for i, row in enumerate(rows) if i % every]
        return read | {"train": kept, "validation": rows[::every]}
    if cut := source.cut:
        divided: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
        for row in read["all"]:
            divided[_split_of(str(row[cut.by]), cut)].append(row)
        return divided
    return read


def _grouped(rows: list[Row], group: Group) -> list[Row]:
    """One row for each value of a field, the first; what the others say in some fields is collected in lists."""
    grouped: dict[Any, Row] = {}
    for row in rows:
        first = grouped.setdefault(row[group.by], {**row, **{field: [] for field in group.collect}})
        for field, source in group.collect.items():
            first[field].append(row[source])
    return list(grouped.values())


def _split_of(value: str, cut: Cut) -> str:
    """A split by where a value's hash falls in [0, 1): the same for every row with that value."""
    at = int(hashlib.sha256(value.encode()).hexdigest()[:8], 16) / 2**32
    if at < cut.train:
        return "train"
    return "validation" if at < cut.train + cut.validation else "test"


def _load(name: str, source: Source, split: str) -> Any:
    require_run(f"task={name} from the hub", "datasets")
    import datasets
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # each of its retries would be a line
    try:
        return datasets.load_dataset(source.hub, source.config, split=split, revision=source.revision)
    except Exception as cause:  # the library raises whatever its network stack raises
        raise UserError(
            f"task={name}: {source.hub} could not be loaded from the hub ({type(cause).__name__}). "
            f"Without a network, give a local copy: task.source.path=DIR with train|validation|test.jsonl."
        ) from cause


def _row(row: Mapping[str, Any], source: Source, loaded: Any, number: str) -> Row:
    names = {field: getattr(feature, "names", None) for field, feature in loaded.features.items()}
    values = dict(row) | {"labels": names.get("label"), "names": names}
    made = {}
    for field, wanted in source.fields.items():
        try:
            made[field] = expression(wanted)(**values)
        except Exception as cause:  # an expression may fail in any way; the field and the row are what a user needs
            raise UserError(f"source.fields.{field}: {wanted!r} fails on row {number}: {cause}") from cause
    row = {"id": str(row.get("id", number)), **{k: v for k, v in row.items() if k != "id"}, **made}
    if source.corpus:
        row["doc_id"] = _document_id(row[source.corpus.text])
    return row


def _corpus(rows: Mapping[str, list[Row]], fields: CorpusFields) -> list[Row]:
    passages = {
        row["doc_id"]: {
            "id": row["doc_id"],
            "title": row.get(fields.title, ""),
            "text": row[fields.text],
        }
        for split in ("train", "validation", "test")
        for row in rows[split]
    }
    return list(passages.values())


def _document_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
