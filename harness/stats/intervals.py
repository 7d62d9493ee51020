"""Means of per-item scores with their intervals, and summaries of repeated measurements."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib import import_module
from statistics import NormalDist
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Number = int | float
"""A count, or the mean count of several seeds."""
LEVEL = 0.05
CONFIDENCE = 1 - LEVEL
POWER = 0.8
FEWEST_SEEDS = 3
"""Training seeds needed for a conclusion about the method instead of the checkpoint."""
ROUNDING = 1e-12
"""A smaller standard error of scores in [0, 1] is floating-point noise: all units are equal."""
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its two-sided 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def scipy_module(module: str) -> Any:
    """A scipy module, imported on first use: the import takes half a second."""
    return import_module(f"scipy.{module}")


# One method


def interval(scores: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Interval | None:
    """Wilson for scores that are all 0 or 1, Student's t for others; None without a score."""
    if not len(scores):
        return None
    if all(score in (0, 1) for score in scores):
        return wilson(int(sum(scores)), len(scores), _design_effect(scores, clusters))
    return mean_interval(scores, clusters)


def wilson(successes: int, n: int, design_effect: float = 1.0) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927); n > 0.

    design_effect: the variance of the proportion divided by that of independent items; the interval is that of
    n / design_effect items (Franco et al. 2019).
    """
    if design_effect == 1.0:
        ci = scipy_module("stats").binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
        return Interval(successes / n, float(ci.low), float(ci.high), n)
    p, m = successes / n, n / design_effect
    middle, reach = p + Z**2 / (2 * m), Z * math.sqrt(p * (1 - p) / m + Z**2 / (4 * m**2))
    low, high = ((middle + sign * reach) / (1 + Z**2 / m) for sign in (-1, 1))
    return Interval(p, max(0.0, low), min(1.0, high), n)


def mean_interval(scores: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Interval:
    """Student's t interval of a mean, clipped to the scores' range [0, 1]; 0 to 1 for a single item."""
    mean = mean_with_error(np.asarray(scores, float), clusters)
    if not math.isfinite(mean.error):
        return Interval(mean.mean, 0.0, 1.0, len(scores))
    reach = critical_t(mean.freedom) * mean.error
    return Interval(mean.mean, max(0.0, mean.mean - reach), min(1.0, mean.mean + reach), len(scores))


@dataclass(frozen=True)
class Mean:
    mean: float
    error: float
    freedom: float


def mean_with_error(values: Floats, clusters: Sequence[Hashable] | None) -> Mean:
    """A mean with its standard error and degrees of freedom; with clusters the sandwich estimator with G / (G - 1).

    (Liang and Zeger 1986; t with G - 1 degrees of freedom as in Cameron and Miller 2015, section VI.)
    """
    n, mean = len(values), float(values.mean())
    groups = groups_of(clusters, n)
    count = int(groups.max()) + 1
    if count < 2:
        return Mean(mean, math.inf, 0)
    sums = np.bincount(groups, weights=values - mean)
    error = math.sqrt(count / (count - 1) * float((sums**2).sum())) / n
    return Mean(mean, 0.0 if error < ROUNDING else error, count - 1)


def groups_of(clusters: Sequence[Hashable] | None, n: int) -> NDArray[np.int64]:
    """The number of each item's cluster; an item without one is a cluster of its own."""
    if clusters is None or all(cluster is None for cluster in clusters):
        return np.arange(n)
    numbers: dict[Hashable, int] = {}
    keys = [("item", i) if cluster is None else cluster for i, cluster in enumerate(clusters)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def _design_effect(scores: Sequence[float], clusters: Sequence[Hashable] | None) -> float:
    """By how much clusters multiply the variance of the mean; 1 without clusters, never below 1."""
    values = np.asarray(scores, float)
    groups = groups_of(clusters, len(values))
    count = int(groups.max()) + 1
    if count == len(values):
        return 1.0
    independent, clustered = mean_with_error(values, None).error, mean_with_error(values, clusters).error
    if independent == 0 or not math.isfinite(clustered):
        return len(values) / count  # equal scores cannot show correlation; assume the worst, one item a cluster
    return max(1.0, (clustered / independent) ** 2)


def critical_t(freedom: float, level: float = LEVEL) -> float:
    """Standard errors that a difference must exceed to be significant, two-sided."""
    return t_quantile(freedom, 1 - level / 2) if freedom > 0 else math.inf


def t_quantile(freedom: float, p: float) -> float:
    return float(scipy_module("special").stdtrit(freedom, p))


def two_sided_p(t: ArrayLike, freedom: float) -> Floats:
    """How likely a t at least this far from 0 is if there is no difference; any shape."""
    return np.asarray(2 * scipy_module("special").stdtr(freedom, -np.abs(t)))


# Repeated measurements


@final
@dataclass(frozen=True)
class Summary:
    """Quantiles, mean and spread of repeated measurements."""

    p50: float
    mean: float | None = None
    p95: float | None = None
    p99: float | None = None
    spread: float | None = None
    """Interquartile range over the median."""
    n: Number | None = None


def summary(values: Sequence[float]) -> Summary | None:
    """None without a value."""
    if not values:
        return None
    p25, p50, p75, p95, p99 = (float(value) for value in np.percentile(values, [25, 50, 75, 95, 99]))
    spread = (p75 - p25) / p50 if p50 else 0.0
    return Summary(p50, float(np.mean(values)), p95, p99, spread, len(values))


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, if one was recorded."""

    value: float
    low: float | None = None
    high: float | None = None
