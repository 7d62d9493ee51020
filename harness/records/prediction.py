"""A Prediction is a model's answer to one item and its scores: a line of predictions.jsonl or validation.jsonl.

{"id": "test-17", "prompt": "Ticket: ...", "completion": "harbour", "score": 1.0, "metrics": {"accuracy": 1.0}, ...}

Fields that do not apply are missing from the line and None here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar, final

import msgspec

from harness import files
from harness.errors import UserError

T = TypeVar("T")


@final
@dataclass(frozen=True)
class Prediction:
    """One item of a run."""

    id: str
    prompt: str | None = None
    """The whole prompt, with chat template and context."""
    completion: str | None = None
    """The answer: the generated text, or the choice with the highest likelihood."""
    score: float | None = None
    """The primary metric; None if the item could not be run, which never counts as wrong."""
    evidence: tuple[str, ...] = ()
    """Ids of the passages in the prompt."""
    prompt_tokens: int | None = None
    demonstrations_left_out: int = 0
    """Demonstrations that did not fit into the model's context window."""
    completion_tokens: int | None = None
    milliseconds: float | None = None
    """The item's share of its batch's time; latency is measured separately."""
    slice: str | None = None
    cluster: str | int | float | None = None
    """Items with the same cluster (a template, a document) are not independent."""
    generated: str | None = None
    """For a choice, the freely generated text, if measured."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """All metrics of the item by name, including the primary one."""
    log_likelihoods: Mapping[str, float] = field(default_factory=dict)
    """For a choice, by the text of each option."""
    unscored: str | None = None
    """Why there is no score."""

    def to_json(self) -> str:
        """One line without the fields that do not apply."""
        values = {name: value for name in COLUMNS if (value := getattr(self, name)) not in (None, (), {})}
        return json.dumps(values, ensure_ascii=False)


COLUMNS = tuple(f.name for f in fields(Prediction))


def read_predictions(path: Path, kind: type[T]) -> list[T]:
    """The lines of a file of predictions as `kind`: Prediction, or a type with fewer fields, which is faster.

    Empty if the file is missing. UserError with file and line if a line is not JSON or a field has the wrong type. NaN,
    which an earlier version wrote, is read as no value.
    """
    try:
        return msgspec.json.Decoder(kind).decode_lines(path.read_bytes())
    except FileNotFoundError:
        return []
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        return [_converted(path, number, values, kind) for number, values in files.numbered_objects(path)]
    except UserError as cause:
        raise UserError(f"{cause} Run that cell again.") from cause


def _converted(path: Path, number: int, values: Mapping[str, object], kind: type[T]) -> T:
    present = {name: v for name, v in values.items() if not (isinstance(v, float) and math.isnan(v))}
    try:
        return msgspec.convert(present, kind)
    except msgspec.ValidationError as cause:
        raise UserError(f"{path}:{number}: not a prediction: {cause}.") from cause
