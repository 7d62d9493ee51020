"""The report, made from record files in a folder; each test names what a reader could be misled by."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import stats
from harness.errors import UserError
from harness.records import Record
from harness.report import terminal_table, write_report

MIB = 2**20
PARAMETERS = 134_515_008


def estimate(value: float, n: int) -> dict[str, Any]:
    found = stats.wilson(round(value * n), n)
    return {"metric": "accuracy", "value": found.value, "low": found.low, "high": found.high, "n": n}


def training(rank: int | None, seconds: float, trainable: int | None = None) -> dict[str, Any]:
    rate = 2e-4 if rank else 2e-5
    return {
        "seconds": seconds,
        "validation_seconds": 9.1,
        "tuning_seconds": 2 * seconds,
        "steps": 75,
        "examples": 600,
        "tokens": 48_211,
        "tokens_per_second": 48_211 / seconds,
        "learning_rate": rate,
        "tried": {str(rate): 0.7, str(rate * 5): 0.6, str(rate / 5): 0.5},
        "final_train_loss": 0.31,
        "best_validation_loss": 0.42,
        "trainable_parameters": trainable or (rank or 0) * 305_280,
        "total_parameters": PARAMETERS,
        "weights_bytes": 19_000_000,
        "peak_memory_bytes": 900 * MIB,
        "shared": False,
    }


def record(
    method: str = "lora",
    test: float = 0.7,
    chosen: float = 0.7,
    n: int = 120,
    memory: float = 800,
    p50: float = 60,
    *,
    rank: int | None = None,
    seconds: float | None = None,
    **changes: Any,
) -> Record:
    """One run as the harness writes it: `test` and `chosen` are test and validation values, memory in MiB."""
    adaptation = next((a for a in ("qlora", "lora", "full", "prefix", "ia3") if a in method), "none")
    context = next((c for c in ("rag", "few_shot", "instructed", "oracle") if c in method), "zero_shot")
    trained = adaptation != "none"
    own = training(rank, seconds or 210.0, None if rank else PARAMETERS) if trained else None
    phase = {"allocated": int(memory * MIB), "reserved": int(memory * 1.1 * MIB)}
    answering = {"allocated": int(300 * MIB), "reserved": int(330 * MIB)} if trained else phase
    merged = {"latency_ms": {"p50": p50 * 0.8, "p95": p50, "mean": p50 * 0.85, "n": 20}, "quality": None}
    data = str(changes.pop("data", "3f9a0c" + "0" * 58))
    seed = changes.get("seed", 0)
    whole = Record(
        run_id=f"{method}-{rank}-{seed}-{n}-9e1f",
        status="ok",
        task="ticket_routing",
        probes="behaviour",
        model="smollm2-135m-q4",
        method=method,
        adaptation=adaptation,
        context=context,
        train_context="zero_shot" if trained else None,
        rank=rank,
        seed=seed,
        experiment="quickstart",
        quality=estimate(test, n)
        | {
            "unscored": 0,
            "metrics": {"accuracy": test, "free_generation": test * 0.9},
            "slices": {"billing": {"value": test, "n": n // 2}, "returns": {"value": test, "n": n - n // 2}},
        },
        validation=estimate(chosen, 80),
        training=own,
        inference={
            "latency_ms": {"p50": p50, "p95": p50 * 1.3, "mean": p50 * 1.1, "n": 20},
            "first_token_ms": None,
            "merged": merged if "lora" in adaptation else None,
            "items_per_second": 14.0,
            "prompt_tokens": 640.2 if context in ("rag", "few_shot") else 71.4,
            "completion_tokens": 3.0,
            "peak_memory_bytes": answering["allocated"],
        },
        retrieval={"k": 3, "recall": 0.86, "index_seconds": 1.2, "latency_ms": {"p50": 4.1}}
        if context == "rag"
        else None,
        memory={"kind": "rss", "load": {"allocated": 280 * MIB, "reserved": 0}, "infer": answering}
        | ({"train": phase} if trained else {}),
        environment={
            "device": "cpu",
            "device_memory_bytes": 16 * 2**30,
            "python": "3.12.3",
            "packages": {"torch": "2.13.0", "peft": "0.21.2"},
            "commit": "1f0c9d2",
            "dirty": True,
            "data_sha256": data,
            "started_at": "2026-03-01T10:00:00+00:00",
            "finished_at": "2026-03-01T10:06:00+00:00",
            "seconds": 360.0,
        },
        config={"task": {"name": "ticket_routing"}, "seed": seed, "max_eval_examples": None},
    )
    return replace(whole, **changes)


def failed(method: str, status: str, message: str, rank: int | None = None) -> Record:
    """A run that ended before it knew anything."""
    bare = record(method, rank=rank)
    return replace(
        bare,
        run_id=f"{method}-{rank}-{status}",
        status=status,
        quality=None,
        validation=None,
        training=None,
        inference=None,
        memory=None,
        environment={},
        error={"type": "RuntimeError", "message": message, "traceback": "..."},
    )


def store(root: Path, *records: Record) -> Path:
    for r in records:
        folder = root / r.experiment / re.sub(r"\W", "_", r.task) / r.model / r.method / r.run_id
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(r.to_json(), encoding="utf-8")
    return root


def quickstart() -> list[Record]:
    """A sweep as a user would have it: prompting, training at several ranks and seeds, one failure."""
    return [
        record("zero_shot", 0.31, 0.30, memory=420, p50=48),
        record("instructed", 0.42, 0.40, memory=450, p50=95),
        record("few_shot", 0.45, 0.44, memory=520, p50=310),
        record("rag", 0.52, 0.50, memory=540, p50=420),
        record("oracle", 0.97, 0.99, memory=500, p50=120),
        record("full", 0.83, 0.82, memory=2600, p50=49, seconds=530),
        record("prefix", 0.55, 0.57, memory=900, p50=55, seconds=200),
        *(
            record("lora", 0.66 + 0.03 * i, 0.65 + 0.04 * i, memory=960 + 20 * i, p50=70 + i, rank=r, seed=s)
            for i, r in enumerate((4, 8, 16, 32))
            for s in (0, 1)
        ),
        *(
            record("qlora", 0.65 + 0.03 * i, 0.64 + 0.02 * i, memory=700 + 20 * i, p50=110 + i, rank=r)
            for i, r in enumerate((4, 16))
        ),
        record("rag_lora", 0.80, 0.79, memory=1500, p50=430, rank=8),
        failed("ia3", "oom", "out of memory"),
    ]


def page_of(root: Path, *records: Record) -> str:
    """The text of report.md made from these records."""
    store(root / "results", *records)
    return write_report(str(root / "results"), root / "report").read_text(encoding="utf-8")


def table_rows(page: str, first_cell: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return [row for row in rows if row[0] == first_cell]


def tables_of(page: str) -> list[str]:
    """The tables of methods, those with a column of quality."""
    return [block for block in page.split("\n\n") if block.startswith("| method | quality |")]


def test_a_run_that_is_not_ok_stays_in_the_table_as_what_it_was_and_last(tmp_path: Path) -> None:
    page = page_of(tmp_path, record("zero_shot", 0.3), failed("full", "oom", "CUDA out of memory"))
    (table,) = tables_of(page)
    last = table.splitlines()[-1]
    assert last.startswith("| full | oom: RuntimeError: CUDA out of memory |")
    assert "0" not in last, "a run without a result must not show a number"
    assert "1 of 2 runs is oom" in page
    assert "oom" in terminal_table(str(tmp_path / "results")).splitlines()[-1]


def test_what_a_diverged_run_had_measured_is_neither_its_quality_nor_chosen(tmp_path: Path) -> None:
    gone = record("full", 0.99, 0.99, status="diverged", error={"type": "Diverged", "message": "loss is NaN"})
    page = page_of(tmp_path, record("zero_shot", 0.3, 0.3), gone)
    assert "diverged: Diverged: loss is NaN" in page
    assert "zero_shot has the highest validation value" in page
    assert "0.99" not in tables_of(page)[0]
    assert tables_of(page)[0].splitlines()[-1].startswith("| full |"), "sorted last, whatever it had measured"
    assert "memory.png" not in page, "one point is left, and one point is no figure"


def test_a_failed_run_joins_the_cohort_of_its_own_experiment_and_no_other(tmp_path: Path) -> None:
    small = replace(record("lora", rank=4, n=40), experiment="pilot")
    page = page_of(
        tmp_path,
        record("lora", rank=8, n=120),
        small,
        replace(failed("ia3", "crashed", "gone"), experiment="pilot"),
    )
    assert ["ia3" in table for table in tables_of(page)] == [False, True]


@pytest.mark.parametrize(
    "other",
    [
        record("rag", task="handbook_qa"),
        record("rag", model="tiny"),
        record("rag", data="another"),
        record("rag", n=40),
        record("rag", memory=900, environment={"device": "NVIDIA H200", "data_sha256": "3f9a0c" + "0" * 58}),
    ],
    ids=["task", "model", "data", "items", "device"],
)
def test_records_that_may_not_be_compared_are_never_in_one_table(tmp_path: Path, other: Record) -> None:
    if other.environment["device"] == "NVIDIA H200":
        other = replace(other, memory={**(other.memory or {}), "kind": "cuda"})
    found = tables_of(page_of(tmp_path, record("zero_shot"), record("full"), other))
    assert len(found) == 2
    for table in found:
        assert ("| rag |" in table) != ("| full |" in table)


def test_unscored_items_are_counted_as_asked_and_shown(tmp_path: Path) -> None:
    partly = record("rag", 0.5, n=118)
    partly = replace(partly, quality={**(partly.quality or {}), "unscored": 2})
    found = tables_of(page_of(tmp_path, record("zero_shot", n=120), partly))
    assert len(found) == 1
    assert "| 118 (2 unscored) |" in found[0]


def test_the_opening_sentence_picks_on_validation_and_not_on_test(tmp_path: Path) -> None:
    page = page_of(tmp_path, record("zero_shot", 0.3, 0.3), record("full", 0.9, 0.6), record("lora", 0.7, 0.8, rank=8))
    sentence = next(line for line in page.splitlines() if line.startswith("**ticket_routing**"))
    assert "lora r8 has the highest validation value (accuracy 0.800" in sentence
    assert "0.70 (95 % interval 0.61 to 0.77" in sentence
    assert "zero_shot 0.30 (0.23 to 0.39)" in sentence
    assert "full" not in sentence
    assert tables_of(page)[0].splitlines()[2].startswith("| full | 0.90"), "the table is sorted by test quality"
    assert "exploratory" in page


def test_of_several_seeds_the_mean_is_chosen_and_the_seed_is_picked_on_validation(tmp_path: Path) -> None:
    lucky = [record("lora", 0.5, 0.9, rank=8, seed=0), record("lora", 0.8, 0.5, rank=8, seed=1)]
    page = page_of(tmp_path, *lucky, record("full", 0.7, 0.8))
    assert "full has the highest validation value" in page, "0.8 is over the mean of 0.9 and 0.5"
    steady = [record("lora", 0.5, 0.95, rank=8, seed=0), record("lora", 0.8, 0.9, rank=8, seed=1)]
    page = page_of(tmp_path / "steady", *steady, record("full", 0.7, 0.8))
    assert "mean of 2 seeds" in page
    assert "with seed 0 (its best on validation), 0.50" in page
    assert len(table_rows(tables_of(page)[0], "lora r8")) == 2


def test_a_tie_on_validation_is_said_and_goes_to_the_fewest_trained_parameters(tmp_path: Path) -> None:
    page = page_of(tmp_path, record("full", 0.9, 0.8), record("lora", 0.7, 0.8, rank=8))
    assert re.search(r"lora r8 has the highest validation value \(.*\), level with full;", page)


def test_the_gold_passage_is_never_the_choice(tmp_path: Path) -> None:
    page = page_of(tmp_path, record("oracle", 0.99, 0.99), record("rag", 0.5, 0.5))
    assert "rag has the highest validation value" in page
    assert "an upper bound, never the choice" in page


HOSTILE = "a|b <script>alert(1)</script> `code` [x](http://example.org) ![i](//t)\n# heading\x1b[31m"


def test_what_models_and_data_say_means_nothing_to_markdown(tmp_path: Path) -> None:
    odd = record("rag", 0.5, task=HOSTILE)
    odd = replace(
        odd,
        quality={
            **(odd.quality or {}),
            "slices": {HOSTILE: {"value": 0.5, "n": 10}},
            "metrics": {HOSTILE: 0.5},
        },
    )
    broken = replace(failed("full", "failed", HOSTILE), task=HOSTILE)
    page = page_of(tmp_path, odd, broken)
    for markup in ("<script", "`code`", "[x]", "![i]", "\n# heading", "\x1b"):
        assert markup not in page
    assert "&lt;script&gt;" in page
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1, "a cell broke out of its table"
    assert "\x1b" not in terminal_table(str(tmp_path / "results"))


def test_a_cell_of_the_spreadsheet_never_runs_as_a_formula(tmp_path: Path) -> None:
    starts = ("=cmd()", "+1", "-1+1", "@SUM(A1)", "\t=1")
    page_of(
        tmp_path,
        record("zero_shot"),
        *(failed("full", "failed", said, rank=i) for i, said in enumerate(starts)),
    )
    with (tmp_path / "report" / "records.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    said = [row["error.message"] for row in rows if row["status"] == "failed"]
    assert sorted(said) == sorted(f"'{start}" for start in starts)
    assert all(value[:1] not in ("=", "+", "@", "\t") for row in rows for value in row.values())


def test_the_spreadsheet_has_a_row_a_record_with_plain_numbers_and_without_configuration(
    tmp_path: Path,
) -> None:
    records = [replace(r, retention={"metric": "accuracy", "change": -0.02}) for r in quickstart()]
    page_of(tmp_path, *records)
    with (tmp_path / "report" / "records.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records)
    assert float(rows[0]["retention.change"]) == -0.02
    assert not [name for name in rows[0] if name.startswith("config") or "traceback" in name]


def test_figures_exist_and_every_link_of_the_page_resolves(tmp_path: Path) -> None:
    page = page_of(tmp_path, *quickstart())
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert [link.rsplit("-", 1)[-1] for link in links if link.endswith(".png")] == [
        "memory.png",
        "latency.png",
        "rank.png",
    ]
    for link in links:
        file = tmp_path / "report" / link
        assert file.stat().st_size > 0
        assert file.suffix != ".png" or file.read_bytes().startswith(b"\x89PNG")


def test_one_rank_alone_makes_no_figure_by_rank(tmp_path: Path) -> None:
    assert "-rank.png" not in page_of(tmp_path, record("zero_shot"), record("lora", rank=8))


def test_peak_memory_is_the_highest_phase_and_is_named_for_what_it_is(tmp_path: Path) -> None:
    page = page_of(tmp_path, record("full", memory=2600), record("zero_shot", memory=200))
    assert table_rows(page, "full")[0][5:8] == ["2,600", "2,600", "300"]
    # loading the untouched model (280 MiB) takes more than answering with it
    assert table_rows(page, "zero_shot")[0][5:8] == ["280", "–", "200"]  # noqa: RUF001
    assert "resident memory of the process, on a CPU (peak less what it was after imports)" in page
    assert "VRAM" not in page and "GPU memory" not in page


def test_copied_training_cost_and_contaminated_figures_are_marked(tmp_path: Path) -> None:
    copied, noisy = record("rag_lora", rank=8), record("full")
    copied = replace(copied, training={**(copied.training or {}), "shared": True})
    noisy = replace(noisy, memory={**(noisy.memory or {}), "contaminated": ["pid 7"]})
    noisy = replace(noisy, inference={**(noisy.inference or {}), "contaminated": True})
    page = page_of(tmp_path, copied, noisy, record("zero_shot"))
    assert "210 †" in table_rows(page, "rag_lora r8")[0]
    assert [cell for cell in table_rows(page, "full")[0] if "‡" in cell] == ["800 ‡", "60.0 ‡"]
    assert "copied from the run that trained these weights" in page and "contaminated:" in page
    assert "‡" not in "".join(table_rows(page, "zero_shot")[0])


def test_runs_of_one_label_are_told_apart_by_the_setting_in_which_they_differ(tmp_path: Path) -> None:
    pair = [replace(record("few_shot", 0.3 + k / 20), run_id=f"k{k}", config={"context": {"k": k}}) for k in (2, 4)]
    page = page_of(tmp_path, *pair)
    assert table_rows(page, "few_shot (context.k=4)") and table_rows(page, "few_shot (context.k=2)")
    assert "`harness run task=ticket_routing model=smollm2-135m-q4 method=few_shot seed=0 context.k=4`" in page


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
    page = page_of(tmp_path, record("rag", 0.5), record("zero_shot", 0.1), record("full", data="another"))
    (row,) = table_rows(page, "majority (no model)")
    assert row[1] == "0.20 (0.14 to 0.28)"
    order = [line.split("|")[1].strip() for line in tables_of(page)[0].splitlines()[2:]]
    assert order == ["rag", "majority (no model)", "zero_shot"]


def test_a_broken_file_of_baselines_is_named(tmp_path: Path) -> None:
    store(tmp_path, record())
    (tmp_path / "baselines.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match=r"baselines\.json"):
        write_report(str(tmp_path), tmp_path / "report")


def test_the_model_of_dequantised_weights_is_introduced_as_such(tmp_path: Path) -> None:
    remark = "dequantised Q4_1"
    assert remark in page_of(tmp_path / "q4", record())
    assert remark not in page_of(tmp_path / "other", record(model="smollm2-135m"))


def test_provenance_names_every_run_its_folder_and_the_command_that_makes_it(tmp_path: Path) -> None:
    run = record("lora", rank=8, seed=3)
    page = page_of(tmp_path, run, record("zero_shot"))
    folder = f"quickstart/ticket_routing/smollm2-135m-q4/lora/{run.run_id}"
    assert ["lora r8", f"`{run.run_id}`", f"`{folder}`"] in table_rows(page, "lora r8")
    assert "`harness run task=ticket_routing model=smollm2-135m-q4 method=lora rank=8 seed=3`" in page
    assert "`1f0c9d2 (dirty)`" in page and "`2.13.0`" in page


def test_a_record_of_which_every_part_is_null_is_reported(tmp_path: Path) -> None:
    empty = replace(
        record("full"),
        quality=None,
        validation=None,
        training=None,
        inference=None,
        retrieval=None,
        memory=None,
        environment={},
        config={},
    )
    page = page_of(tmp_path, empty)
    assert "no run has a validation value, so no method is chosen" in page
    assert "ok, but no quality was recorded" in page
    hollow = replace(
        empty,
        quality={"metric": None, "value": float("nan"), "n": None, "slices": None},
        validation={"value": None},
        training={"learning_rate": None, "tried": None},
        inference={"latency_ms": None, "merged": None},
        memory={"kind": None, "train": None},
    )
    assert not re.search(r"\bnan\b", page_of(tmp_path / "hollow", hollow), re.IGNORECASE)


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    store(tmp_path / "results", *quickstart())
    pages = [write_report(str(tmp_path / "results"), tmp_path / name).read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_without_a_place_the_report_goes_to_reports_and_the_folders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store(Path("results"), record())
    assert write_report("results/,method=lora") == Path("reports/results/report.md")


def test_an_empty_folder_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no record"):
        write_report(str(tmp_path), tmp_path / "report")
    with pytest.raises(UserError, match="no record"):
        terminal_table(str(tmp_path))
    assert not (tmp_path / "report").exists()


def test_a_report_is_made_without_torch_and_the_terminals_table_without_matplotlib(tmp_path: Path) -> None:
    store(tmp_path / "results", record("zero_shot"), record("lora", rank=8))
    script = f"""
import sys
from harness.report import terminal_table, write_report
terminal_table({str(tmp_path / "results")!r})
print([name for name in ("matplotlib", "pandas") if name in sys.modules])
from pathlib import Path
write_report({str(tmp_path / "results")!r}, Path({str(tmp_path / "report")!r}))
print([name for name in ("torch", "hydra", "transformers", "matplotlib.pyplot") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def on(rows: int, *records: Record) -> list[Record]:
    """The same runs with another number of labelled rows."""
    return [
        replace(
            r,
            run_id=f"{r.run_id}-{rows}",
            config={**r.config, "max_train_examples": rows},
            training={**r.training, "examples": rows} if r.training else None,
        )
        for r in records
    ]


def test_several_numbers_of_labelled_rows_make_a_learning_curve(tmp_path: Path) -> None:
    runs = [
        run
        for i, rows in enumerate((16, 32, 64))
        for run in on(rows, record("lora", 0.4 + 0.1 * i, rank=8), record("few_shot", 0.45), record("full", 0.3))
    ]
    page = page_of(tmp_path, record("zero_shot", 0.2), *runs)
    assert re.search(r"\(figures/\S+-rows\.png\)", page)
    assert "-rows.png" not in page_of(tmp_path / "two", *runs[:6])  # two points are no curve


def test_what_was_forgotten_is_drawn_against_what_was_gained(tmp_path: Path) -> None:
    def forgot(change: float, method: str) -> Record:
        interval = {"change": change, "low": change - 0.05, "high": change + 0.05}
        skill = {"before": 0.6, "after": 0.6 + change, **interval, "n": 100}
        parts = {"knowledge": skill, "bits_per_byte": {**skill, "change": -change}}
        return record(method, retention={"metric": "accuracy", **skill, "parts": parts})

    page = page_of(tmp_path, forgot(-0.1, "full"), forgot(-0.02, "lora"), record("zero_shot"))
    assert re.search(r"\(figures/\S+-retention\.png\)", page)
    assert ["full", "knowledge", "0.600", "0.500", "-0.10 (-0.15 to -0.05)", "100"] in table_rows(page, "full")
    assert ["full", "bits_per_byte"] in [row[:2] for row in table_rows(page, "full")]


def test_a_task_is_compared_with_its_public_twin_by_the_order_of_methods(tmp_path: Path) -> None:
    values = {"zero_shot": 0.2, "few_shot": 0.3, "full": 0.6, "prefix": 0.5}
    own = [record(name, value) for name, value in values.items()]
    twin = [record(name, 0.9 - value, task="banking77", data="7" * 64) for name, value in values.items()]
    rows = table_rows(page_of(tmp_path, *own, *twin), "ticket_routing")
    assert [row[1:] for row in rows] == [["banking77", "smollm2-135m-q4", "4", "-1.00"]]
    assert "public twins" not in page_of(tmp_path / "alone", *own)
    assert "public twins" not in page_of(tmp_path / "few", *own[:2], *twin)
