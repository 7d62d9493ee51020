"""A Prediction is what one item was answered, as data: a line of predictions.jsonl or validation.jsonl.

{"id": "test-17", "prompt": "Ticket: ...", "completion": "harbour", "score": 1.0, "metrics": {"accuracy": 1.0}, ...}

What does not apply is left out of the line and None here.
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
    """As the model read it, template and context included."""
    completion: str | None = None
    """What counts as the answer: the text generated, or the choice with the highest likelihood."""
    score: float | None = None
    """The primary metric; None if the item could not be run, which is never counted as wrong."""
    evidence: tuple[str, ...] = ()
    """Ids of the passages in the prompt."""
    prompt_tokens: int | None = None
    demonstrations_left_out: int = 0
    """Demonstrations that the model's window had no room for."""
    completion_tokens: int | None = None
    milliseconds: float | None = None
    """The item's share of its batch's time; latency is measured apart."""
    slice: str | None = None
    cluster: str | int | float | None = None
    """Items with the same one (a template, a document) are not independent."""
    generated: str | None = None
    """Of a choice, what the model says freely, if that was measured."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """All of the item's metrics by name, the primary one among them."""
    log_likelihoods: Mapping[str, float] = field(default_factory=dict)
    """Of a choice, by its text."""
    unscored: str | None = None
    """Why there is no score."""

    def to_json(self) -> str:
        """One line, without what does not apply."""
        values = {name: value for name in COLUMNS if (value := getattr(self, name)) not in (None, (), {})}
        return json.dumps(values, ensure_ascii=False)


COLUMNS = tuple(f.name for f in fields(Prediction))


def read_predictions(path: Path, kind: type[T]) -> list[T]:
    """The lines of a file of predictions as `kind`: Prediction, or a type with some of its fields, which is faster.

    None where the file is missing. UserError with file and line if one is not JSON or has a field of another type. NaN,
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
    known = {name: v for name, v in values.items() if not (isinstance(v, float) and math.isnan(v))}
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as cause:
        raise UserError(f"{path}:{number}: not a prediction: {cause}.") from cause
