"""What a report keeps between two times it is made, and reports on several results folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.records import index
from harness.records.costs import Prices
from harness.report import chapter_cache, chapters, write_report
from tests.factories import make_quickstart, make_record, method_tables, table_rows, write_results


def make_page(folder: Path, *more: Path) -> str:
    return write_report([str(folder), *map(str, more)], folder.parent / "report").page.read_text()


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_report_from_the_cache_is_the_same_and_reads_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(tmp_path / "results", *make_quickstart())
    make_page(tmp_path / "results")
    first = read_files(tmp_path / "report")

    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(index, "read_record", refuse)
    make_page(tmp_path / "results")
    assert read_files(tmp_path / "report") == first


def test_a_report_from_the_cache_loads_nothing_that_computes_or_draws(tmp_path: Path) -> None:
    root = write_results(tmp_path / "results", *make_quickstart())
    make_page(root)
    script = (
        "import sys; from pathlib import Path; from harness.report import write_report;"
        "write_report(sys.argv[1], Path(sys.argv[2]));"
        "sys.exit('scipy' in sys.modules or 'matplotlib' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script, str(root), str(tmp_path / "again")], check=False)
    assert said.returncode == 0


def test_a_figure_is_written_again_only_where_it_says_something_else(tmp_path: Path) -> None:
    root = write_results(tmp_path / "results", *make_quickstart())
    make_page(root)
    same, other, *_ = sorted((tmp_path / "report" / "figures").iterdir())
    drawn = other.read_bytes()
    other.write_text("something else")
    before = same.stat().st_mtime_ns
    make_page(root)
    assert same.stat().st_mtime_ns == before
    assert other.read_bytes() == drawn


def test_a_new_run_is_seen_and_only_its_chapter_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(tmp_path / "results", *make_quickstart(), make_record("zero_shot", task="other"))
    make_page(tmp_path / "results")
    made = []
    write = chapter_cache.write
    monkeypatch.setattr(chapter_cache, "write", lambda order: (made.append(order.key.task), write(order))[1])
    write_results(tmp_path / "results", make_record("lora", 0.9, rank=64))
    assert table_rows(make_page(tmp_path / "results"), "lora r64")
    assert made == ["ticket_routing"]


def test_a_record_that_changed_or_went_is_noticed(tmp_path: Path) -> None:
    root = write_results(tmp_path / "results", make_record("lora", 0.5, rank=8), make_record("full", 0.6))
    assert table_rows(make_page(root), "full")
    for path in list(root.rglob("record.json")):
        raw = json.loads(path.read_text())
        if raw["method"] == "full":
            shutil.rmtree(path.parent)
        else:
            path.write_text(json.dumps(raw | {"quality": raw["quality"] | {"value": 0.777}}))
    said = make_page(root)
    assert not table_rows(said, "full")
    assert "0.78" in table_rows(said, "lora r8")[0][1]


def test_predictions_that_came_later_are_noticed(tmp_path: Path) -> None:
    root = write_results(tmp_path / "results", make_record("lora", 0.5, n=2, rank=8), make_record("full", 0.6, n=2))
    assert "Which methods differ" not in make_page(root)
    for folder in [path.parent for path in root.rglob("record.json")]:
        (folder / "predictions.jsonl").write_text("".join(f'{{"id": "{i}", "score": {i}}}\n' for i in (0, 1)))
    assert "Which methods differ" in make_page(root)


def test_answers_to_validation_that_changed_are_noticed(tmp_path: Path) -> None:
    """They are what the choice is made on: full differs significantly from zero-shot in the later ones."""
    root = write_results(
        tmp_path / "results", make_record("zero_shot", 0.5, 0.5, memory=400), make_record("full", 0.6, 0.52)
    )

    def answer(full: list[int]) -> None:
        for path in root.rglob("record.json"):
            right = full if "full" in path.parent.name else [i % 2 for i in range(400)]
            lines = [f'{{"id": "{i}", "score": {score}}}\n' for i, score in enumerate(right)]
            (path.parent / "validation.jsonl").write_text("".join(lines))

    answer([(i + 1) % 2 for i in range(400)])
    assert "zero_shot has the highest validation value" in make_page(root)
    answer([1 if i < 16 else i % 2 for i in range(400)])
    assert "full has the highest validation value" in make_page(root)


@pytest.mark.parametrize("broken", ["", "[]", '{"version": 1}', "not json"])
def test_a_broken_cache_is_no_cache(tmp_path: Path, broken: str, cache: Path) -> None:
    root = write_results(tmp_path / "results", *make_quickstart())
    first = make_page(root)
    for path in (cache / "reports").rglob("*.json"):
        path.write_text(broken)
    assert make_page(root) == first


def test_what_is_asked_for_is_part_of_what_is_kept(tmp_path: Path) -> None:
    root = write_results(tmp_path / "results", *make_quickstart())
    assert "(seconds)" in make_page(root)
    priced = write_report(str(root), tmp_path / "report", Prices(hour=2.5)).page.read_text()
    assert "(money)" in priced


def test_steps_are_counted_for_chapters_that_are_written_alone(tmp_path: Path) -> None:
    root = write_results(tmp_path / "results", *make_quickstart())
    steps: list[tuple[int, int]] = []
    for _ in range(2):
        write_report(str(root), tmp_path / "report", step=lambda *step: steps.append(step))
    assert steps == [(0, 1), (1, 1)]


@pytest.mark.parametrize(
    ("tasks", "writer"), [(1, chapters.write), (chapter_cache.FEW + 1, None)], ids=["one process", "several"]
)
def test_a_damaged_file_is_named_by_whoever_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: int, writer: Any
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(chapter_cache, "write", writer or written_apart)
    runs = [make_record(method, n=2, task=f"task_{i}") for i in range(tasks) for method in ("lora", "full")]
    root = write_results(tmp_path / "results", *runs)
    damaged = next(root.rglob("record.json")).with_name("predictions.jsonl")
    damaged.write_text("not json")
    with pytest.raises(UserError, match=f"{damaged}:1: not JSON"):
        write_report(str(root), tmp_path / "report")


def test_many_chapters_are_written_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(chapter_cache, "write", written_apart)
    tasks = [f"task_{i}" for i in range(chapter_cache.FEW + 1)]
    root = write_results(tmp_path / "results", *(make_record("zero_shot", task=task) for task in tasks))
    text = write_report(str(root), tmp_path / "report").page.read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        *(f"## {task}" for task in tasks), "## Provenance",
    ]  # fmt: skip


def written_apart(order: chapters.Order) -> chapters.Chapter:
    """A chapter, written in a process that a pool has spawned and in no other."""
    assert parent_process() is not None
    return chapters.write(order)


def test_the_same_method_of_two_folders_stands_in_one_table_under_two_names(tmp_path: Path) -> None:
    before = write_results(tmp_path / "before", make_record("lora", 0.5, rank=8))
    after = write_results(
        tmp_path / "after", replace(make_record("lora", 0.7, rank=8), run_id="later"), make_record("full", 0.6)
    )
    said = make_page(before, after)
    (table,) = method_tables(said)
    names = [row[0] for line in table.splitlines()[2:] for row in [line.strip("| ").split(" | ")]]
    assert names == [f"lora r8 (results={after})", "full", f"lora r8 (results={before})"]
    assert f"results={before}" in said


def test_a_report_on_two_models_says_what_is_compared(tmp_path: Path) -> None:
    root = write_results(tmp_path / "results", make_record("lora", rank=8), make_record("lora", rank=8, model="other"))
    said = make_page(root)
    assert "never across" in said
    assert len(method_tables(said)) == 2
    alone = write_results(tmp_path / "alone" / "results", make_record("lora", rank=8))
    assert "never across" not in make_page(alone)
