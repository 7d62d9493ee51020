"""Memory and time as `harness check` weighs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands import check_pair
from tests.factories import N_CHECKED, make_record, revise, shuffled_scores, write_run


def with_memory(root: Path, factor: float, seeds: int = 3, **changes: Any) -> Path:
    """Equal quality; the candidate's peak is so many times the baseline's, give or take a percent."""
    base = shuffled_scores(350, N_CHECKED)
    for seed in range(seeds):
        wobble = 1 + 0.01 * (seed - 1)
        write_run(root / "a", make_record("full", n=N_CHECKED, seed=seed, memory=1000 * wobble, seconds=100.0), base)
        one = make_record(
            "lora", n=N_CHECKED, rank=8, seed=seed, memory=1000 * factor * wobble, seconds=100.0, **changes
        )
        write_run(root / "b", one, base)
    return root


def memory_of(data: dict[str, Any]) -> dict[str, Any]:
    return next(ratio for ratio in data["resources"] if ratio["figure"] == "peak_memory")


def test_a_resource_that_got_worse_on_the_same_hardware_fails_the_gate(tmp_path: Path) -> None:
    code, data = check_pair(with_memory(tmp_path, 1.09))
    ratio = memory_of(data)
    assert (code, data["verdict"], data["pooled"]["verdict"]) == (1, "worse", "no_worse")
    assert (ratio["verdict"], ratio["decides"], ratio["interval_over"]) == ("worse", True, "seeds")
    assert ratio["ratio"] == pytest.approx(1.09, rel=1e-3)
    assert 1.05 < ratio["low"] < 1.09 < ratio["high"] < 1.13
    assert any("peak memory is worse: 1.09 times" in said for said in data["reasons"])


def test_a_resource_within_its_margin_passes(tmp_path: Path) -> None:
    code, data = check_pair(with_memory(tmp_path, 1.01))
    assert (code, memory_of(data)["verdict"]) == (0, "no_worse")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"environment": {"device": "cuda: other", "data_sha256": "3f9a0c" + "0" * 58}}, "different hardware"),
        ({"contaminated": {"memory": ["3 other processes"]}}, "contaminated: 3 other processes"),
    ],
)
def test_other_hardware_or_a_disturbance_decides_nothing(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    for factor in (0.5, 2.0):
        root = with_memory(tmp_path / str(factor), factor, **changes)
        code, data = check_pair(root)
        ratio = memory_of(data)
        assert (code, ratio["verdict"], ratio["decides"]) == (0, "inconclusive", False)
        assert any(said in why for why in ratio["undecided"])


def test_fewer_than_three_seeds_decide_nothing_about_a_resource(tmp_path: Path) -> None:
    code, data = check_pair(with_memory(tmp_path / "two", 2.0, seeds=2))
    assert (code, memory_of(data)["decides"]) == (0, False)
    code, data = check_pair(with_memory(tmp_path / "one", 2.0, seeds=1))
    ratio = memory_of(data)
    assert (code, ratio["ratio"], ratio["low"], ratio["verdict"]) == (
        0,
        pytest.approx(2.0, rel=1e-3),
        None,
        "inconclusive",
    )


def test_the_requests_of_one_process_give_a_latency_an_interval_that_fails_nothing(tmp_path: Path) -> None:
    base = shuffled_scores(350, N_CHECKED)
    for side, method, p50 in (("a", "full", 100.0), ("b", "prefix", 150.0)):
        one = make_record(method, n=N_CHECKED)
        latency = {"p50": p50, "p95": p50, "mean": p50, "n": 20, "spread": 0.1}
        write_run(tmp_path / side, revise(one, inference={"latency_ms": latency}), base)
    code, data = check_pair(tmp_path)
    ratio = data["resources"][1]
    assert (code, ratio["verdict"], ratio["interval_over"], ratio["decides"]) == (0, "worse", "requests", False)
    # error of one logarithm: 1.2533 x 0.1 / 1.349 / sqrt(20) = 0.0208; of the ratio 0.0294; t(38) 2.024
    assert np.log(ratio["high"] / ratio["ratio"]) == pytest.approx(2.024 * 0.0294, rel=0.01)
