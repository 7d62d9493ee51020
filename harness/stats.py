"""Intervals over per-item scores, as pure functions.

>>> interval([1, 1, 0, 1])
Interval(value=0.75, low=0.300..., high=0.954..., n=4)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided 95 % interval, items as the unit."""

    value: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927); n > 0."""
    ci = scipy_stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(successes / n, float(ci.low), float(ci.high), n)


def mean_interval(scores: Sequence[float]) -> Interval:
    """Student's t interval of a mean, clipped to [0, 1] since scores are; one item alone says nothing: 0 to 1."""
    n = len(scores)
    mean = float(np.mean(scores))
    if n < 2:
        return Interval(mean, 0.0, 1.0, n)
    error = float(np.std(scores, ddof=1)) / math.sqrt(n)
    reach = float(scipy_stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return Interval(mean, max(0.0, mean - reach), min(1.0, mean + reach), n)


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Mean of after minus before over the same items, with Student's t interval; one item alone says nothing."""
    differences = np.subtract(after, before)
    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return Interval(mean, -math.inf, math.inf, n)
    reach = float(scipy_stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * float(np.std(differences, ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - reach, mean + reach, n)


def interval(scores: Sequence[float]) -> Interval | None:
    """Wilson for scores that are all 0 or 1, Student's t for others; None without a score."""
    if not scores:
        return None
    if all(score in (0, 1) for score in scores):
        return wilson(int(sum(scores)), len(scores))
    return mean_interval(scores)
