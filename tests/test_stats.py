"""Intervals against published values."""

import pytest

from harness.stats import interval, mean_interval, wilson


def test_wilson_matches_the_published_example() -> None:
    found = wilson(81, 263)  # Newcombe 1998, table I, method 3: 0.2553 to 0.3662
    assert (found.low, found.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_wilson_at_the_edges_stays_inside() -> None:
    assert wilson(0, 29).low == pytest.approx(0.0, abs=1e-12)
    assert wilson(0, 29).high == pytest.approx(0.1170, abs=5e-5)  # Newcombe 1998, table I


def test_a_mean_has_students_interval() -> None:
    found = mean_interval([0.2, 0.4, 0.6, 0.8])  # mean 0.5, s 0.2582, t(3) 3.182
    assert (found.low, found.high) == (pytest.approx(0.0892, abs=1e-3), pytest.approx(0.9108, abs=1e-3))


def test_the_kind_of_score_decides_the_interval() -> None:
    assert interval([1, 0, 1]) == wilson(2, 3)
    assert interval([1, 0, 0.5]) == mean_interval([1, 0, 0.5])
    assert interval([]) is None
