"""Records as files."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.records.prediction import Prediction, read_predictions
from harness.records.reading import load_records
from harness.records.record import Record
from harness.records.results_folder import save_run
from harness.report import write_report
from tests.factories import parse_record


def make_small_record(**changes: object) -> Record:
    fields = {
        "run_id": "a-b", "status": "ok", "task": "t", "probes": "behaviour", "model": "m", "method": "lora",
        "adaptation": "lora", "context": "zero_shot", "train_context": "zero_shot", "rank": 8, "seed": 0,
        "experiment": "runs",
    }  # fmt: skip
    return parse_record(**{**fields, **changes})


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    one = make_small_record(quality={"value": 0.5}, error=None)
    test = Prediction("x", score=1.0, evidence=("p1",), metrics={"accuracy": 1.0}, cluster=7)
    checked = Prediction("y", unscored="too long")
    save_run(tmp_path / "runs" / "a-b", one, {"test": [test], "validation": [checked]}, {"seed": 0})
    (stored,) = load_records(str(tmp_path))
    assert stored.record == one
    assert stored.predictions() == [test]
    assert stored.predictions("validation") == [checked]
    line = json.loads((stored.folder / "validation.jsonl").read_text())
    assert line == {"id": "y", "demonstrations_left_out": 0, "unscored": "too long"}, "what does not apply is left out"
    assert json.loads((stored.folder / "record.json").read_text())["schema"] == 1


def test_a_selector_filters_by_field(tmp_path: Path) -> None:
    for rank in (4, 8, 16):
        save_run(tmp_path / str(rank), make_small_record(rank=rank), {}, {})
    assert [s.record.rank for s in load_records(f"{tmp_path},method=lora,rank=8")] == [8]
    with pytest.raises(UserError, match="no record matches"):
        load_records(f"{tmp_path},rank=5")
    with pytest.raises(UserError, match="no field 'rnak'"):
        load_records(f"{tmp_path},rnak=5")


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(UserError, match=r"record\.json: not a record"):
        load_records(str(tmp_path))


@pytest.mark.parametrize("broken", ['{"id": "b", "sco', "[1]", "[]", '{"id": "b"}, {"id": "c"}'])
def test_a_broken_line_of_predictions_is_named(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text(f'{{"id": "a"}}\n\n{broken}\n')
    with pytest.raises(UserError, match=r"predictions\.jsonl:3: .*Run that cell again"):
        read_predictions(path, Prediction)


def test_a_record_of_an_earlier_version_lacks_fields_and_loads(tmp_path: Path) -> None:
    raw = {
        k: v
        for k, v in json.loads(make_small_record().to_json()).items()
        if k not in ("contaminated", "overrides", "predicted")
    }
    (tmp_path / "record.json").write_text(json.dumps(raw | {"dropped_since": 1}))
    (stored,) = load_records(str(tmp_path))
    assert stored.record == make_small_record()


def test_a_newer_schema_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(tmp_path / "old", make_small_record(), {}, {})
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "record.json").write_text('{"schema": 2, "status": {"of": "another shape"}}')
    (stored,) = load_records(str(tmp_path))
    assert stored.record == make_small_record()
    said = "a record of schema 2; this version reads schema 1"
    assert said in capsys.readouterr().err
    assert said in write_report(str(tmp_path), tmp_path / "report").page.read_text()
    (tmp_path / "old" / "record.json").unlink()
    with pytest.raises(UserError, match=f"no record found.*\n.*{said}"):
        load_records(str(tmp_path))


def test_a_record_that_was_read_is_written_with_every_field() -> None:
    """msgspec leaves defaults out of what it has read itself: findings/msgspec_dataclass_defaults.sh."""
    made = make_small_record(quality={"metric": "accuracy", "value": 0.5})
    short = {n: v for n, v in json.loads(made.to_json()).items() if n not in ("training", "inference", "error")}
    again = json.loads(Record.from_json(json.dumps(short)).to_json())
    assert set(again) == {field.name for field in fields(Record)}
    assert again == json.loads(made.to_json())
