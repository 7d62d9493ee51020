"""How many items and seeds a check is given, and whether they do what the plan says."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import yaml

from harness import paths, stats
from harness.check.gate import PASSES, judge
from harness.check.paired import Paired, weigh
from harness.check.plan import FEWEST_ITEMS, Gate, Plan, plan
from harness.errors import UserError

GATE = Gate(margin=0.05, item_sd=0.3, seed_sd=0.02)


def share_that_passes(made: Plan, difference: float = 0.0, repeats: int = 400) -> float:
    """How often the gate passes methods that are as the plan assumes."""
    random, passed = np.random.default_rng(0), 0
    for _ in range(repeats):
        tasks = []
        for items in made.items.values():
            common = random.uniform(0.3, 0.7, items)
            apart = random.normal(0, made.gate.item_sd, items)
            ours = common + apart + difference + random.normal(0, made.gate.seed_sd, (made.seeds, 1))
            theirs = common + random.normal(0, made.gate.seed_sd, (made.seeds, 1))
            paired = Paired(ours, np.broadcast_to(theirs, ours.shape), None, items)
            tasks.append(weigh(paired, "accuracy", made.gate.margin, barred=False))
        passed += judge(tasks).verdict in PASSES
    return passed / repeats


@pytest.mark.parametrize("tasks, seed_sd, margin", [*product((1, 2, 8), (0.01, 0.03), (0.02, 0.05))])
def test_what_is_planned_lets_an_equal_method_pass_as_often_as_it_says(
    tasks: int, seed_sd: float, margin: float
) -> None:
    made = plan({f"task{i}": 100_000 for i in range(tasks)}, 2, Gate(margin=margin, seed_sd=seed_sd, most_seeds=99))
    assert made.power >= stats.POWER
    found = share_that_passes(made)
    assert abs(found - made.power) < 0.08
    assert share_that_passes(made, -margin) < 0.06


def test_a_smaller_margin_or_noisier_seeds_take_more() -> None:
    tasks = {"a": 10_000, "b": 10_000}
    usual = plan(tasks, 2, GATE)
    finer, noisier = plan(tasks, 2, Gate(0.02, 0.3, 0.02)), plan(tasks, 2, Gate(0.05, 0.3, 0.04))
    assert sum(finer.items.values()) > sum(usual.items.values())
    assert noisier.seeds > usual.seeds >= stats.FEWEST_SEEDS
    assert noisier.items == usual.items


def test_no_more_items_than_there_are_and_no_fewer_than_a_hundred() -> None:
    made = plan({"small": 60, "large": 10_000}, 2, Gate(0.05, 0.05, 0.02))
    assert made.items == {"small": 60, "large": FEWEST_ITEMS}
    assert plan({"a": 1000}, 2, GATE, limit=300).items == {"a": 300}


def test_what_cannot_be_reached_is_said_with_what_would_be() -> None:
    made = plan({"a": 100}, 2, Gate(0.02, 0.3, 0.05, most_seeds=5))
    assert made.seeds == 5
    assert made.power < stats.POWER
    assert made.reached > 0.02
    assert f"a margin of {made.reached * 100:.2g} points" in " ".join(made.sentences())
    assert Plan(made.items, 5, Gate(made.reached, 0.3, 0.05), 2).power == pytest.approx(stats.POWER)


def test_methods_that_are_not_trained_have_one_run() -> None:
    assert plan({"a": 10_000}, 0, GATE).seeds == 1
    assert plan({"a": 10_000}, 2, Gate(seeds=4)).seeds == 4


@pytest.mark.parametrize(
    "given, said",
    [
        ({"margn": 0.05}, "known are item_sd, margin, most_seeds, seed_sd, seeds"),
        ({"margin": 5}, r"gate.margin=5: expected a share between 0 and 1 \(0.02 is two points\)"),
        ({"seeds": 2.5}, "gate.seeds=2.5: expected a whole number of at least 1 or null"),
        ({"seed_sd": True}, "gate.seed_sd=True: expected a share"),
        ({"item_sd": None}, "gate.item_sd=None: expected a share"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Gate.of(given)


def test_without_settings_the_defaults_hold() -> None:
    assert Gate.of(None) == Gate() == Gate.of({"seeds": None})


def test_the_experiment_assumes_what_the_default_is() -> None:
    assert Gate.of(yaml.safe_load((paths.CONF / "experiment" / "gate.yaml").read_text())["gate"]) == Gate()
