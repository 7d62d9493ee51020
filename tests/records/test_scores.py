"""Every item's score, read from predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.records import scores
from harness.records.reading import PREDICTIONS_FILE, StoredRecord
from tests.factories import make_record


def write_predictions(folder: Path, *lines: str) -> StoredRecord:
    (folder / PREDICTIONS_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return StoredRecord(make_record(), folder, folder)


def prediction(item: str, score: Any, cluster: Any = None, **more: Any) -> str:
    return json.dumps({"id": item, "prompt": "p", "score": score, "cluster": cluster, "metrics": {"f1": None}} | more)


@pytest.mark.parametrize(
    "odd", [prediction("z", None), prediction("z", None, 1.5), prediction("z", None, prompt=float("nan"))]
)
def test_scores_are_in_the_order_of_their_ids_and_an_unscored_item_is_absent(tmp_path: Path, odd: str) -> None:
    """Whatever an odd line makes of the way in which the file is read."""
    rows = (
        prediction("b", 1, "x"),
        prediction("a", 0.5, "x"),
        "",
        odd,
        prediction("c\u2028\ud800", 0, 7),
        '{"id": "d", "score": 1.0}',
    )
    found = scores.read(write_predictions(tmp_path, *rows))
    assert found is not None
    assert found.ids == ("a", "b", "c\u2028\ud800", "d")
    assert found.values.tolist() == [0.5, 1.0, 0.0, 1.0]
    assert found.clusters == ("x", "x", 7, None)
    assert found.units == 3


def test_without_a_score_there_is_nothing(tmp_path: Path) -> None:
    assert scores.read(StoredRecord(make_record(), tmp_path, tmp_path)) is None
    assert scores.read(write_predictions(tmp_path, prediction("a", None))) is None


@pytest.mark.parametrize("broken", ['{"id": "b", "sco', "[1]", '{"id": "b"}, {"id": "c"}'])
def test_a_broken_line_is_named(tmp_path: Path, broken: str) -> None:
    with pytest.raises(UserError, match=r"predictions\.jsonl:2: .*Run that cell again"):
        scores.read(write_predictions(tmp_path, prediction("a", 1.0), broken))
