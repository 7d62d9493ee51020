"""Which methods a report calls different, and what its first sentence says of them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.records.cohorts import gather
from harness.records.reading import PREDICTIONS_FILE, load_records
from harness.report import write_report
from harness.report.comparisons import Comparisons
from harness.stats import holm, mcnemar
from tests.factories import (
    N_REPORTED,
    make_record,
    revise,
    shuffled_scores,
    table_rows,
    write_results,
    write_scored_runs,
)


def compare(root: Path) -> Comparisons:
    (cohort,) = gather(load_records(str(root)), [])
    return Comparisons.of(cohort)


def write_three_methods(root: Path) -> Path:
    """Zero-shot, and two trained methods that are right on nearly the same items."""
    full = shuffled_scores(96, seed=1)
    lora = [*full]
    for i in [i for i, score in enumerate(full) if score][:4]:
        lora[i] = 0.0
    return write_scored_runs(
        root,
        [
            (make_record("zero_shot", 0.3, 0.3, memory=420), shuffled_scores(36, seed=2)),
            (make_record("full", 0.8, 0.8, memory=2600, seconds=530), full),
            (make_record("lora", 92 / N_REPORTED, 0.7, memory=988, rank=8, seconds=200), lora),
        ],
    )


def test_pairs_are_compared_item_by_item_and_corrected_together(tmp_path: Path) -> None:
    comparisons = compare(write_three_methods(tmp_path))
    assert [cell.name for cell in comparisons.cells] == ["full", "lora r8", "zero_shot"]
    assert comparisons.items == N_REPORTED
    close = comparisons.between("lora r8", "full")
    assert close is not None
    assert close.difference.p == mcnemar(4, 0)
    assert close.seen_from("lora r8").value == pytest.approx(-4 / N_REPORTED)
    assert [pair.corrected for pair in comparisons.pairs] == holm([pair.difference.p for pair in comparisons.pairs])


def test_letters_join_what_cannot_be_told_apart_and_nothing_else(tmp_path: Path) -> None:
    comparisons = compare(write_three_methods(tmp_path))
    assert comparisons.letters == {"full": "a", "lora r8": "a", "zero_shot": "b"}
    assert [cell.name for cell in comparisons.alike("full")] == ["lora r8"]


def test_every_two_cells_share_a_letter_just_where_they_do_not_differ(tmp_path: Path) -> None:
    """A ladder of methods, each like its neighbours and unlike those further away."""
    order = random.Random(3).sample(range(N_REPORTED), N_REPORTED)
    runs = []
    for step in range(7):
        right = set(order[: 20 + 13 * step])
        scores = [float(i in right) for i in range(N_REPORTED)]
        runs.append((make_record("lora", sum(scores) / N_REPORTED, 0.5, rank=2**step), scores))
    comparisons = compare(write_scored_runs(tmp_path, runs))
    letters = comparisons.letters
    for pair in comparisons.pairs:
        assert bool(set(letters[pair.first.name]) & set(letters[pair.second.name])) is not pair.differ
    assert len(set(letters.values())) > 2


def test_the_first_sentence_says_what_is_gained_and_what_is_cheaper_and_no_different(tmp_path: Path) -> None:
    page = write_report(str(write_three_methods(tmp_path / "results")), tmp_path / "report").page.read_text()
    sentence = next(line for line in page.splitlines() if line.startswith("**ticket_routing**"))
    assert "full has the highest validation value (accuracy 0.800" in sentence
    assert "50 points over zero_shot (95 % interval" in sentence
    assert "lora r8 is not significantly different from it (-3 points; smallest detectable difference" in sentence
    assert "needs 38 % of its memory and 38 % of its training time" in sentence
    (row,) = table_rows(page.split("#### Which methods differ")[1].split("####")[0], "zero_shot")
    assert row[1:3] == ["0.300", "b"]
    assert row[3].startswith("–")  # noqa: RUF001
    assert row[5].startswith("-0.500 (-0.")
    assert row[6] == "&lt;0.001"


def test_correction_for_many_pairs_makes_no_two_methods_alike(tmp_path: Path) -> None:
    """Nine items lost and one won: p 0.02 of the pair alone, 0.06 when three pairs are asked about."""
    full = shuffled_scores(96, seed=1)
    right, wrong = ([i for i in range(N_REPORTED) if full[i] == score] for score in (1.0, 0.0))
    small = [float(score and i not in right[:9]) or float(i == wrong[0]) for i, score in enumerate(full)]
    other = [float(score and i not in right[:9]) or float(i == wrong[1]) for i, score in enumerate(full)]
    runs = [(make_record("full", 0.8, 0.8, memory=2600), full)]
    runs += [(make_record("lora", 0.7, 0.7, rank=rank), own) for rank, own in ((4, small), (8, other))]
    root = write_scored_runs(tmp_path / "results", runs)
    comparisons = compare(root)
    pair = comparisons.between("full", "lora r8")
    assert pair
    assert pair.difference.p < 0.05 < pair.corrected
    assert not pair.differ
    assert not comparisons.alike("full")
    assert "is not significantly different from it" not in write_report(str(root), tmp_path / "report").page.read_text()


def test_clusters_are_the_unit_where_items_have_one(tmp_path: Path) -> None:
    one, other = shuffled_scores(70, seed=1), shuffled_scores(60, seed=2)
    runs = [(make_record("zero_shot", 0.5), other), (make_record("full", 0.6), one)]
    alone = compare(write_scored_runs(tmp_path / "alone", runs)).pairs[0]
    grouped = compare(
        write_scored_runs(tmp_path / "grouped", runs, [f"template {i % 6}" for i in range(N_REPORTED)])
    ).pairs[0]
    assert alone.difference.test == "exact McNemar"
    assert grouped.difference.test == "cluster-robust t"
    for name, unit in (("alone", "is the item."), ("grouped", "6 clusters, 120 items.")):
        assert unit in write_report(str(tmp_path / name), tmp_path / f"report-{name}").page.read_text()


def test_seeds_of_a_cell_are_taken_together(tmp_path: Path) -> None:
    runs = [(make_record("lora", 0.6, rank=8, seed=seed), shuffled_scores(72, seed=seed)) for seed in range(3)]
    runs.append((make_record("zero_shot", 0.3), shuffled_scores(36, seed=9)))
    comparisons = compare(write_scored_runs(tmp_path, runs))
    assert [cell.seeds for cell in comparisons.cells] == [3, 1]
    assert comparisons.cells[0].scores.shape == (3, N_REPORTED)
    assert comparisons.pairs[0].difference.value == pytest.approx(np.mean([72, 72, 72]) / N_REPORTED - 36 / N_REPORTED)
    assert "seeds" in comparisons.pairs[0].difference.test


def test_the_items_that_divide_the_methods_are_shown_and_may_be_left_out(tmp_path: Path) -> None:
    root = write_three_methods(tmp_path / "results")
    for stored in load_records(str(root)):
        path = stored.folder / PREDICTIONS_FILE
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line["prompt"] = f"<|im_start|>user\nWhich queue for {line['id']}?<|im_end|>\n<|im_start|>assistant\n"
            line["completion"] = f"{stored.record.method} says <b>`{line['score']}`</b> | {'x' * 100_000}"
            line["evidence"] = ["doc-7"]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = write_report(str(root), tmp_path / "report").page.read_text()
    part = page.split("#### Item by item")[1].split("####")[0]
    (row,) = table_rows(part, "lora r8")[:1]
    assert [float(cell) for cell in row[1:]] == pytest.approx(
        [92 / N_REPORTED, 4 / N_REPORTED, 0, 24 / N_REPORTED], abs=0.006
    )
    assert part.count("Which queue for test-") == 3
    assert "<b>" not in part
    assert "doc-7" in part
    assert max(map(len, part.splitlines())) < 2000, "a completion of 100 kB is cut"
    without = write_report(str(root), tmp_path / "without", examples=False).page.read_text()
    assert "Item by item" in without
    assert "Which queue" not in without


def test_runs_without_predictions_are_said_to_be_left_out(tmp_path: Path) -> None:
    write_three_methods(tmp_path / "results")
    write_results(tmp_path / "results", make_record("rag", 0.5))
    page = write_report(str(tmp_path / "results"), tmp_path / "report").page.read_text()
    assert "Not compared, because their predictions are missing: 1 of the runs." in page


def test_item_by_item_counts_seeds_and_not_their_majority(tmp_path: Path) -> None:
    """Three seeds that are right on 40 items each and never on the same ones: a third of the items."""
    apart = [[float(seed * 40 <= i < (seed + 1) * 40) for i in range(N_REPORTED)] for seed in range(3)]
    runs = [(make_record("lora", 1 / 3, 0.3, rank=8, seed=seed), own) for seed, own in enumerate(apart)]
    root = write_scored_runs(
        tmp_path / "results", [*runs, (make_record("full", 0.8, 0.8), shuffled_scores(96, seed=1))]
    )
    page = write_report(str(root), tmp_path / "report", examples=False).page.read_text()
    (row,) = table_rows(page.split("#### Item by item")[1].split("####")[0], "lora r8")
    both, only_full, only_this, neither = map(float, row[1:])
    assert both + only_this == pytest.approx(1 / 3, abs=0.01)
    assert both + only_full == pytest.approx(0.8, abs=0.01)
    assert both + only_full + only_this + neither == pytest.approx(1, abs=0.02)


def test_what_could_have_been_found_shares_its_level_among_the_pairs_as_the_verdicts_do(tmp_path: Path) -> None:
    comparisons = compare(write_three_methods(tmp_path))
    pair = comparisons.pairs[0]
    assert comparisons.smallest_difference(pair) > 1.1 * pair.difference.smallest_difference


def test_where_every_item_says_the_same_no_smallest_difference_is_claimed(tmp_path: Path) -> None:
    same = [
        (make_record("full", 0.5, 0.5, memory=2600), shuffled_scores(60)),
        (make_record("prefix", 0.5, 0.5), shuffled_scores(60)),
    ]
    page = write_report(str(write_scored_runs(tmp_path / "results", same)), tmp_path / "report").page.read_text()
    assert "mallest detectable" not in page


def test_examples_are_of_a_seed_that_has_kept_its_answers(tmp_path: Path) -> None:
    runs = [(make_record("lora", 0.6, rank=8, seed=seed), shuffled_scores(72, seed=seed)) for seed in range(2)]
    runs.append((make_record("zero_shot", 0.3), shuffled_scores(36, seed=9)))
    root = write_scored_runs(tmp_path / "results", runs)
    for stored in load_records(str(root)):
        if stored.record.method == "lora" and stored.record.seed == 0:
            (stored.folder / PREDICTIONS_FILE).unlink()
    assert "#### Item by item" in write_report(str(root), tmp_path / "report").page.read_text()


def test_zero_shot_of_two_folders_is_compared_with_under_both_names(tmp_path: Path) -> None:
    runs = [
        (make_record("zero_shot", 0.3), shuffled_scores(36, seed=9)),
        (make_record("full", 0.8), shuffled_scores(96, seed=1)),
    ]
    first = write_scored_runs(tmp_path / "first", runs)
    second = write_scored_runs(
        tmp_path / "second", [(replace(run, run_id=f"{run.run_id}-2"), right) for run, right in runs]
    )
    page = write_report([str(first), str(second)], tmp_path / "report").page.read_text()
    (heading,) = [line for line in page.split("#### Which methods differ")[1].splitlines() if "minus" in line]
    assert all(f"minus zero_shot (results={folder})" in heading.replace("\\", "") for folder in (first, second))


def test_a_difference_that_could_not_have_been_shown_is_not_given_in_points(tmp_path: Path) -> None:
    """Not 'smallest detectable difference 221 points': scores lie between 0 and 1."""
    runs = [
        (make_record("full", 0.7, 0.7, seed=seed), shuffled_scores(right, seed=seed))
        for seed, right in enumerate((50, 110))
    ]
    root = write_scored_runs(
        tmp_path / "results", [*runs, (make_record("zero_shot", 0.3, 0.3), shuffled_scores(36, seed=9))]
    )
    page = write_report(str(root), tmp_path / "report").page.read_text()
    assert "too few items and seeds to show a difference of any size" in page
    assert "smallest detectable" not in page


def test_a_choice_that_rests_on_an_untuned_run_says_so(tmp_path: Path) -> None:
    tuned = make_record("full", 0.8, 0.8)
    one_rate = revise(tuned, training={"tried": None})
    for name, run, said in (("tuned", tuned, False), ("untuned", one_rate, True)):
        page = write_report(str(write_results(tmp_path / name, run)), tmp_path / f"{name}-report").page.read_text()
        assert ("Its learning rate was not tuned." in page) == said
