"""How sure a recommendation is: items, clusters and seeds drawn again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from harness import stats
from harness.decide.resampling import redraw, validation_scores
from harness.records.reading import VALIDATION_FILE, load_records
from tests.commands import decide_one
from tests.factories import (
    make_record,
    right_then_wrong,
    shuffled_scores,
    write_answered_runs,
)


@pytest.mark.parametrize(("items", "least", "most"), [(400, 0.9, 1.0), (30, 0.2, 0.85)])
def test_how_sure_it_is_follows_the_number_of_items(tmp_path: Path, items: int, least: float, most: float) -> None:
    runs = [
        (make_record("zero_shot"), right_then_wrong(20), shuffled_scores(round(0.4 * items), items)),
        (make_record("full", memory=2600), right_then_wrong(80), shuffled_scores(round(0.5 * items), items, 1)),
    ]
    assert least <= decide_one(write_answered_runs(tmp_path, runs)).strategy.probability <= most


def test_items_of_one_cluster_are_drawn_together(tmp_path: Path) -> None:
    """Full is right where zero-shot is wrong, by whole templates: 200 items tell them apart, four templates do not."""
    runs = [
        (
            make_record("zero_shot", memory=400),
            right_then_wrong(20),
            [1 - score for score in right_then_wrong(110, 200)],
        ),
        (make_record("full", memory=2600), right_then_wrong(80), right_then_wrong(110, 200)),
    ]
    root = write_answered_runs(tmp_path, runs)
    assert decide_one(root).strategy.probability > 0.8
    for run in load_records(root):
        lines = [replace(line, cluster=f"c{i // 50}") for i, line in enumerate(run.predictions("validation"))]
        (run.folder / VALIDATION_FILE).write_text("".join(line.to_json() + "\n" for line in lines))
    assert 0.4 < decide_one(root).strategy.probability < 0.7


def test_seeds_are_drawn_too(tmp_path: Path) -> None:
    """Full wins on the mean of two seeds of which one is bad: on half of the draws of one seed twice it would not."""
    runs = [(make_record("zero_shot", memory=400), right_then_wrong(50), right_then_wrong(100, 200))]
    runs += [
        (make_record("full", memory=2600, seed=seed), right_then_wrong(80), right_then_wrong(right_ones, 200))
        for seed, right_ones in enumerate((60, 160))
    ]
    assert 0.6 < decide_one(write_answered_runs(tmp_path, runs)).strategy.probability < 0.78


def test_in_the_draws_two_methods_are_told_apart_as_over_all_items(tmp_path: Path) -> None:
    runs = [
        (make_record("zero_shot"), right_then_wrong(50), shuffled_scores(round(0.5 * 90), 90)),
        (make_record("few_shot"), right_then_wrong(50), shuffled_scores(round(0.55 * 90), 90, 7)),
        *(
            (make_record("full", seed=seed), right_then_wrong(80), shuffled_scores(round(0.6 * 90), 90, seed + 1))
            for seed in range(3)
        ),
    ]
    rows = {row.name: row for row in decide_one(write_answered_runs(tmp_path, runs)).cohort.rows}
    matrix = validation_scores(list(rows.values()))
    assert matrix is not None
    zero, few, full = ("zero_shot", "few_shot", "full")
    draws = redraw(matrix, [zero, few, full], 5)
    for draw in range(5):  # one checkpoint each: exact McNemar over the items drawn
        drawn = [np.repeat(matrix.scores[name][0], draws.weights[draw].astype(int)) for name in (zero, few)]
        assert draws.p(zero, few)[draw] == pytest.approx(stats.compare(drawn[0].tolist(), drawn[1].tolist()).p)
    found = matrix.compare(full, zero)  # with seeds: t with the error and the freedom of all items and seeds
    expected = 2 * special.stdtr(found.freedom, -abs(draws.means[2] - draws.means[0]) / found.error)
    assert draws.p(full, zero) == pytest.approx(expected)


def test_a_run_on_a_few_items_does_not_take_the_others_from_the_rest(tmp_path: Path) -> None:
    runs = [
        (make_record("zero_shot", memory=400), right_then_wrong(50), right_then_wrong(250, 500)),
        (make_record("full", memory=2600), right_then_wrong(50), right_then_wrong(300, 500)),
        (make_record("prefix", memory=900), right_then_wrong(50), right_then_wrong(12, 20)),
    ]
    rows = decide_one(write_answered_runs(tmp_path, runs)).cohort.rows
    matrix = validation_scores(rows)
    assert matrix is not None
    assert (set(matrix.scores), len(matrix.ids)) == ({"zero_shot", "full"}, 500)
