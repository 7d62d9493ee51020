"""The report, made from record files in a folder; each test names what a reader could be misled by."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.measurement.readings import Environment
from harness.records.reading import load_records
from harness.records.record import Record
from harness.report import write_report
from tests.factories import (
    make_failed_record,
    make_quickstart,
    make_record,
    make_report,
    method_tables,
    revise,
    table_rows,
    write_results,
)


def test_a_run_that_is_not_ok_stays_in_the_table_as_what_it_was_and_last(tmp_path: Path) -> None:
    page = make_report(tmp_path, make_record("zero_shot", 0.3), make_failed_record("full", "oom", "CUDA out of memory"))
    (table,) = method_tables(page)
    last = table.splitlines()[-1]
    assert last.startswith("| full | oom: RuntimeError: CUDA out of memory |")
    assert "0" not in last, "a run without a result must not show a number"
    assert "1 of 2 runs is oom" in page
    shown = write_report(str(tmp_path / "results"), tmp_path / "again").table
    assert "\nfull oom: RuntimeError: CUDA out of memory\n" in shown


def test_what_a_diverged_run_had_measured_is_neither_its_quality_nor_chosen(tmp_path: Path) -> None:
    gone = make_record("full", 0.99, 0.99, status="diverged", error={"type": "Diverged", "message": "loss is NaN"})
    page = make_report(tmp_path, make_record("zero_shot", 0.3, 0.3), gone)
    assert "diverged: Diverged: loss is NaN" in page
    assert "zero_shot has the highest validation value" in page
    assert "0.99" not in method_tables(page)[0]
    assert method_tables(page)[0].splitlines()[-1].startswith("| full |"), "sorted last, whatever it had measured"
    assert "memory.svg" not in page, "one point is left, and one point is no figure"


def test_a_failed_run_joins_the_cohort_of_its_own_experiment_and_no_other(tmp_path: Path) -> None:
    small = replace(make_record("lora", rank=4, n=40), experiment="pilot")
    page = make_report(
        tmp_path,
        make_record("lora", rank=8, n=120),
        small,
        replace(make_failed_record("ia3", "crashed", "gone"), experiment="pilot"),
    )
    assert ["ia3" in table for table in method_tables(page)] == [False, True]


@pytest.mark.parametrize(
    "other",
    [
        make_record("rag", task="handbook_qa"),
        make_record("rag", model="tiny"),
        make_record("rag", data="another"),
        make_record("rag", n=40),
        make_record("rag", memory=900, environment={"device": "NVIDIA H200", "data_sha256": "3f9a0c" + "0" * 58}),
    ],
    ids=["task", "model", "data", "items", "device"],
)
def test_records_that_may_not_be_compared_are_never_in_one_table(tmp_path: Path, other: Record) -> None:
    if other.environment.device == "NVIDIA H200":
        other = revise(other, memory={"kind": "cuda"})
    found = method_tables(make_report(tmp_path, make_record("zero_shot"), make_record("full"), other))
    assert len(found) == 2
    for table in found:
        assert ("| rag |" in table) != ("| full |" in table)


def test_unscored_items_are_counted_as_asked_and_shown(tmp_path: Path) -> None:
    partly = make_record("rag", 0.5, n=118)
    partly = revise(partly, quality={"unscored": 2})
    found = method_tables(make_report(tmp_path, make_record("zero_shot", n=120), partly))
    assert len(found) == 1
    assert "| 118 (2 unscored) |" in found[0]


def test_the_opening_sentence_picks_on_validation_and_not_on_test(tmp_path: Path) -> None:
    page = make_report(
        tmp_path,
        make_record("zero_shot", 0.3, 0.3),
        make_record("full", 0.9, 0.6),
        make_record("lora", 0.7, 0.8, rank=8),
    )
    sentence = next(line for line in page.splitlines() if line.startswith("**ticket_routing**"))
    assert "lora r8 has the highest validation value (accuracy 0.800" in sentence
    assert "0.70 (95 % interval 0.61 to 0.77" in sentence
    assert "zero_shot 0.30 (0.23 to 0.39)" in sentence
    assert "full" not in sentence
    assert method_tables(page)[0].splitlines()[2].startswith("| full | 0.90"), "the table is sorted by test quality"
    assert "exploratory" in page


def test_of_several_seeds_the_mean_is_chosen_and_shown(tmp_path: Path) -> None:
    lucky = [make_record("lora", 0.5, 0.9, rank=8, seed=0), make_record("lora", 0.8, 0.5, rank=8, seed=1)]
    page = make_report(tmp_path, *lucky, make_record("full", 0.7, 0.8))
    assert "full has the highest validation value" in page, "0.8 is over the mean of 0.9 and 0.5"
    steady = [make_record("lora", 0.5, 0.95, rank=8, seed=0), make_record("lora", 0.8, 0.9, rank=8, seed=1)]
    page = make_report(tmp_path / "steady", *steady, make_record("full", 0.7, 0.8))
    assert "mean of 2 seeds" in page
    assert "on the test split it reaches 0.65" in page
    (cells,) = [row for row in table_rows(method_tables(page)[0], "lora r8")]
    assert cells[1] == "0.65", "without their predictions two seeds have no interval"
    assert cells[-1] == "2 (0.212)"


@pytest.mark.parametrize(("lora", "cheaper", "other"), [(700, "lora r8", "full"), (900, "full", "lora r8")])
def test_a_tie_on_validation_is_said_and_goes_to_the_smallest_memory(
    tmp_path: Path, lora: float, cheaper: str, other: str
) -> None:
    runs = [make_record("full", 0.9, 0.8, memory=800), make_record("lora", 0.7, 0.8, memory=lora, rank=8)]
    page = make_report(tmp_path, *runs)
    assert re.search(rf"{cheaper} has the highest validation value \(.*\), level with {other};", page)


def test_the_gold_passage_is_never_the_choice(tmp_path: Path) -> None:
    page = make_report(tmp_path, make_record("oracle", 0.99, 0.99), make_record("rag", 0.5, 0.5))
    assert "rag has the highest validation value" in page
    assert "an upper bound, never the choice" in page


HOSTILE = "a|b <script>alert(1)</script> `code` [x](http://example.org) ![i](//t)\n# heading\x1b[31m"


def test_what_models_and_data_say_means_nothing_to_markdown(tmp_path: Path) -> None:
    odd = make_record("rag", 0.5, task=HOSTILE)
    odd = revise(odd, quality={"slices": {HOSTILE: {"value": 0.5, "n": 10}}, "metrics": {HOSTILE: 0.5}})
    broken = replace(make_failed_record("full", "failed", HOSTILE), task=HOSTILE)
    page = make_report(tmp_path, odd, broken)
    for markup in ("<script", "`code`", "[x]", "![i]", "\n# heading", "\x1b"):
        assert markup not in page
    assert "&lt;script&gt;" in page
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1, "a cell broke out of its table"
    assert "\x1b" not in write_report(str(tmp_path / "results"), tmp_path / "again").table


def test_peak_memory_is_the_highest_phase_and_is_named_for_what_it_is(tmp_path: Path) -> None:
    page = make_report(tmp_path, make_record("full", memory=2600), make_record("zero_shot", memory=200))
    assert table_rows(page, "full")[0][5:8] == ["2,600", "2,600", "300"]
    # loading the untouched model (280 MiB) takes more than answering with it
    assert table_rows(page, "zero_shot")[0][5:8] == ["280", "–", "200"]  # noqa: RUF001
    assert "resident memory of the process, on a CPU (peak less what it was after imports)" in page
    assert "VRAM" not in page and "GPU memory" not in page


def test_copied_training_cost_and_contaminated_figures_are_marked(tmp_path: Path) -> None:
    copied, noisy = make_record("rag_lora", rank=8), make_record("full")
    copied = revise(copied, training={"shared": True})
    noisy = revise(noisy, memory={"contaminated": "pid 7"})
    noisy = replace(noisy, contaminated={"latency": ["other processes had 40% of the CPUs"]})
    page = make_report(tmp_path, copied, noisy, make_record("zero_shot"))
    assert "210 †" in table_rows(page, "rag_lora r8")[0]
    assert [cell for cell in table_rows(page, "full")[0] if "‡" in cell] == ["800 ‡", "60.0 ‡"]
    assert (
        "copied from the run that trained these weights" in page
        and "contaminated (" in page
        and "40% of the CPUs" in page
    )
    assert "‡" not in "".join(table_rows(page, "zero_shot")[0])


def test_runs_of_one_label_are_told_apart_by_the_setting_in_which_they_differ(tmp_path: Path) -> None:
    pair = [
        replace(make_record("few_shot", 0.3 + k / 20), run_id=f"k{k}", config={"context": {"k": k}}) for k in (2, 4)
    ]
    page = make_report(tmp_path, *pair)
    assert table_rows(page, "few_shot (context.k=4)") and table_rows(page, "few_shot (context.k=2)")
    cell = "task=ticket_routing model=smollm2-135m-q4 method=few_shot seed=0 context.k=4"
    assert f"`harness run experiment=quickstart {cell}`" in page


def test_baselines_without_a_model_stand_in_the_table_of_their_own_items_only(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "quickstart"
    folder.mkdir(parents=True)
    raw = {
        "task": "ticket_routing",
        "data_sha256": "3f9a0c" + "0" * 58,
        "n": 120,
        "metric": "accuracy",
        "baselines": {"majority": {"value": 0.2, "low": 0.14, "high": 0.28}},
    }
    (folder / "baselines.json").write_text(json.dumps(raw), encoding="utf-8")
    page = make_report(
        tmp_path, make_record("rag", 0.5), make_record("zero_shot", 0.1), make_record("full", data="another")
    )
    (row,) = table_rows(page, "majority (no language model)")
    assert row[1] == "0.20 (0.14 to 0.28)"
    order = [line.split("|")[1].strip() for line in method_tables(page)[0].splitlines()[2:]]
    assert order == ["rag", "majority (no language model)", "zero_shot"]


def test_a_broken_file_of_baselines_is_named(tmp_path: Path) -> None:
    write_results(tmp_path, make_record())
    (tmp_path / "baselines.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match=r"baselines\.json"):
        write_report(str(tmp_path), tmp_path / "report")


def test_the_model_of_dequantised_weights_is_introduced_as_such(tmp_path: Path) -> None:
    remark = "dequantised from a GGUF file"
    assert remark in make_report(tmp_path / "q4", make_record(config={"model": {"source": "gguf_package"}}))
    assert remark not in make_report(tmp_path / "other", make_record())


def test_provenance_names_every_run_its_folder_and_the_command_that_makes_it(tmp_path: Path) -> None:
    run = make_record("lora", rank=8, seed=3)
    page = make_report(tmp_path, run, make_record("zero_shot"))
    folder = f"quickstart/ticket_routing/smollm2-135m-q4/lora/{run.run_id}"
    assert ["lora r8", "3", f"`{run.run_id}`", f"`{folder}`"] in table_rows(page, "lora r8")
    cell = "task=ticket_routing model=smollm2-135m-q4 method=lora rank=8 seed=3"
    assert f"`harness run experiment=quickstart {cell}`" in page
    assert "`1f0c9d2 (dirty)`" in page and "`2.13.0`" in page
    typed = ["experiment=mine", "task=folder", "task.path=my tasks/a", "results=elsewhere"]
    page = make_report(tmp_path / "typed", replace(run, overrides=typed))
    assert "`harness run experiment=mine task=folder 'task.path=my tasks/a'`" in page


def test_a_record_of_which_every_part_is_null_is_reported(tmp_path: Path) -> None:
    empty = replace(
        make_record("full"),
        quality=None,
        validation=None,
        training=None,
        inference=None,
        retrieval=None,
        memory=None,
        environment=Environment(),
        config={},
    )
    page = make_report(tmp_path, empty)
    assert "no run has a validation value, so no method is chosen" in page
    assert "ok, but no quality was recorded" in page
    hollow = revise(
        empty,
        quality={"metric": None, "value": float("nan"), "n": None},
        validation={"value": None},
        training={"learning_rate": None, "tried": None},
        inference={"latency_ms": None, "merged": None},
        memory={"kind": None, "train": None},
    )
    assert not re.search(r"\bnan\b", make_report(tmp_path / "hollow", hollow), re.IGNORECASE)


def test_nan_in_a_file_is_no_value(tmp_path: Path) -> None:
    root = write_results(tmp_path / "results", make_record("full"), make_record("lora", rank=8))
    path = next(path for path in root.rglob("record.json") if path.parent.name.startswith("full"))
    path.write_text(re.sub(r'"final_train_loss": [0-9.]+', '"final_train_loss": NaN', path.read_text()))
    assert "NaN" in path.read_text()
    (stored,) = load_records(f"{root},method=full")
    assert stored.record.training and stored.record.training.final_train_loss is None


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    write_results(tmp_path / "results", *make_quickstart())
    pages = [write_report(str(tmp_path / "results"), tmp_path / name).page.read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_without_a_place_the_report_goes_to_reports_and_the_folders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_results(Path("results"), make_record())
    assert write_report("results/,method=lora").page == Path("reports/results/report.md")


def test_an_empty_folder_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no record"):
        write_report(str(tmp_path), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_report_is_made_without_torch(tmp_path: Path) -> None:
    write_results(tmp_path / "results", make_record("zero_shot"), make_record("lora", rank=8))
    script = f"""
import sys
from pathlib import Path
from harness.report import write_report
write_report({str(tmp_path / "results")!r}, Path({str(tmp_path / "report")!r}))
print([name for name in ("torch", "hydra", "transformers", "matplotlib.pyplot") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
