"""Rows of a data set on the hub, mapped to a task's rows by a few lines of task.yaml.

    source:
      hub: google/xquad
      config: xquad.en                       # optional
      revision: main                         # optional; a script data set's is refs/convert/parquet
      splits: {train: train, test: test}     # task's split: hub's split; {all: validation} if the hub has only one
      fields: {label: "labels[label]"}       # optional: a field from an expression over the hub's row
      corpus: {text: context, title: title}  # optional: distinct values of a field become the corpus
      hold_out: {every: 20}                  # optional: each 20th training row becomes validation
      group: {by: mr, collect: {refs: ref}, splits: [test]}         # optional: one row a value, its `ref`s as a list
      cut: {by: doc_id, train: 0.5, validation: 0.15, test: 0.35}   # optional: divides `all` by a field's hash

A row without an id gets one: `<split>-<number>`. Expressions may use the row's fields, `labels` (the names of
`label`), `names` (of every labelled field) and two filters: `without(PATTERN)` and `findall(PATTERN)`.
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
    """Rows for train, validation, test and corpus; UserError if there is neither a network nor a filled cache."""
    loaded: dict[str, list[Row]] = {}
    for split, hub_split in source.splits.items():
        dataset = _load(name, source, hub_split)
        loaded[split] = [_row(row, source, dataset, f"{split}-{i}") for i, row in enumerate(dataset)]
    rows: dict[str, list[Row]] = {"train": [], "validation": [], "test": []} | _divided(loaded, source)
    if group := source.group:
        rows |= {split: _grouped(rows[split], group) for split in group.splits}
    return rows | {"corpus": _corpus(rows, source.corpus) if source.corpus else []}


def _divided(loaded: dict[str, list[Row]], source: Source) -> dict[str, list[Row]]:
    """The rows with the splits that the hub lacks, divided by `hold_out` or `cut`."""
    if source.hold_out:
        every, rows = source.hold_out.every, loaded["train"]
        kept = [row for i, row in enumerate(rows) if i % every]
        return loaded | {"train": kept, "validation": rows[::every]}
    if cut := source.cut:
        divided: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
        for row in loaded["all"]:
            divided[_split_of(str(row[cut.by]), cut)].append(row)
        return divided
    return loaded


def _grouped(rows: list[Row], group: Group) -> list[Row]:
    """The first row for each value of `group.by`, with the `collect` fields of all its rows as lists."""
    grouped: dict[Any, Row] = {}
    for row in rows:
        first = grouped.setdefault(row[group.by], {**row, **{field: [] for field in group.collect}})
        for field, source in group.collect.items():
            first[field].append(row[source])
    return list(grouped.values())


def _split_of(value: str, cut: Cut) -> str:
    """The split of a value by its hash in [0, 1): the same for every row with that value."""
    fraction = int(hashlib.sha256(value.encode()).hexdigest()[:8], 16) / 2**32
    if fraction < cut.train:
        return "train"
    return "validation" if fraction < cut.train + cut.validation else "test"


def _load(name: str, source: Source, split: str) -> Any:
    require_run(f"task={name} from the hub", "datasets")
    import datasets
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # it would log a line for each retry
    try:
        return datasets.load_dataset(source.hub, source.config, split=split, revision=source.revision)
    except Exception as cause:  # the library raises whatever its network stack raises
        raise UserError(
            f"task={name}: {source.hub} could not be loaded from the hub ({type(cause).__name__}). "
            f"Without a network, give a local copy: task.source.path=DIR with train|validation|test.jsonl."
        ) from cause


def _row(row: Mapping[str, Any], source: Source, dataset: Any, number: str) -> Row:
    names = {field: getattr(feature, "names", None) for field, feature in dataset.features.items()}
    values = dict(row) | {"labels": names.get("label"), "names": names}
    computed = {}
    for field, text in source.fields.items():
        try:
            computed[field] = expression(text)(**values)
        except Exception as cause:  # an expression may fail in any way; the user needs the field and the row
            raise UserError(f"source.fields.{field}: {text!r} fails on row {number}: {cause}") from cause
    row = {"id": str(row.get("id", number)), **{k: v for k, v in row.items() if k != "id"}, **computed}
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
