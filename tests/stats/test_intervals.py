"""Intervals of one method, against published values and statsmodels."""

import pytest
from statsmodels.stats.proportion import proportion_confint

from harness.stats import (
    interval,
    mean_interval,
    summary,
    wilson,
)


def test_wilson_matches_the_published_example() -> None:
    found = wilson(81, 263)  # Newcombe 1998, table I, method 3: 0.2553 to 0.3662
    assert (found.low, found.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_wilson_at_the_edges_stays_inside() -> None:
    assert wilson(0, 29).low == pytest.approx(0.0, abs=1e-12)
    assert wilson(0, 29).high == pytest.approx(0.1170, abs=5e-5)  # Newcombe 1998, table I


@pytest.mark.parametrize("successes", [0, 3, 17, 40])
def test_wilson_agrees_with_statsmodels(successes: int) -> None:
    found = wilson(successes, 40)
    assert (found.low, found.high) == pytest.approx(proportion_confint(successes, 40, method="wilson"), abs=1e-8)


def test_clustered_items_say_less() -> None:
    scores = [1, 1, 1, 1, 0, 0, 0, 0]
    alone, pairs = interval(scores), interval(scores, list("aabbccdd"))
    assert alone and pairs
    assert pairs.low < alone.low and alone.high < pairs.high
    # scores alike within every cluster: four clusters say what four items do, with the cluster's own correction
    halved = wilson(4, 8, design_effect=(4 / 3) / (8 / 7) * 2)
    assert (pairs.low, pairs.high) == pytest.approx((halved.low, halved.high))
    assert interval(scores, [None] * 8) == alone
    together = interval([1, 1, 1, 1], list("aabb"))
    assert together and together.low == pytest.approx(wilson(2, 2).low)


def test_a_mean_has_students_interval() -> None:
    found = mean_interval([0.2, 0.4, 0.6, 0.8])  # mean 0.5, s 0.2582, t(3) 3.182
    assert (found.low, found.high) == (pytest.approx(0.0892, abs=1e-3), pytest.approx(0.9108, abs=1e-3))


def test_the_kind_of_score_decides_the_interval() -> None:
    assert interval([1, 0, 1]) == wilson(2, 3)
    assert interval([1, 0, 0.5]) == mean_interval([1, 0, 0.5])
    assert interval([]) is None


def test_percentiles_of_latency() -> None:
    found = summary([float(i) for i in range(1, 101)])
    assert found and (found.p50, found.mean, found.n) == (50.5, 50.5, 100)
    assert (found.p95, found.p99, found.spread) == pytest.approx((95.05, 99.01, 49.5 / 50.5))
    assert summary([]) is None
