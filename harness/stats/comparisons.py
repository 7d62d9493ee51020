"""Differences between methods with intervals and p-values, and the items or seeds needed to detect them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.intervals import (
    LEVEL,
    POWER,
    Floats,
    Interval,
    Mean,
    Z,
    critical_t,
    groups_of,
    interval,
    mean_with_error,
    scipy_module,
    t_quantile,
    two_sided_p,
)


@dataclass(frozen=True)
class Comparison(Interval):
    """A difference with the p-value of the hypothesis that there is none, and with the smallest detectable one."""

    p: float
    sd: float
    """Of one item's difference; with clusters, the sd at which independent items would be as uncertain."""
    test: str
    freedom: float = math.inf
    """Degrees of freedom of its standard error."""

    @property
    def smallest_difference(self) -> float:
        """The true difference that this many items detect with 80 % power."""
        return self.smallest_of(1)

    def smallest_of(self, comparisons: int) -> float:
        """The same if this many comparisons share the level (Bonferroni, Holm's first step)."""
        return smallest_difference(self.n, self.sd, level=LEVEL / comparisons, freedom=self.freedom)

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        return self.sd / math.sqrt(self.n)

    def p_below(self, bound: float = 0.0) -> float:
        """One-sided p: how likely a value this low is if the true difference is `bound` (Student's t)."""
        if self.error == 0 or not math.isfinite(self.error):
            return 0.0 if self.error == 0 and self.value < bound else 1.0
        return float(scipy_module("special").stdtr(self.freedom, (self.value - bound) / self.error))


# Two methods on the same items


def compare(
    scores: Sequence[float], baseline: Sequence[float], clusters: Sequence[Hashable] | None = None
) -> Comparison:
    """scores minus baseline, item by item, for one checkpoint of each.

    Scores of 0 and 1 get Tango's interval and the exact McNemar p; other scores, and clusters, a paired t.
    """
    candidate_scores, baseline_scores = np.asarray(scores, float), np.asarray(baseline, float)
    differences = candidate_scores - baseline_scores
    n = len(differences)
    clustered = int(groups_of(clusters, n).max()) + 1 < n
    if not clustered and set(np.unique([candidate_scores, baseline_scores])) <= {0.0, 1.0}:
        better, worse = int((differences > 0).sum()), int((differences < 0).sum())
        score_interval = tango(better, worse, n)
        value, low, high = score_interval.value, score_interval.low, score_interval.high
        sd = math.sqrt(max(0.0, (better + worse) / n - value**2) * n / max(1, n - 1))
        return Comparison(value, low, high, n, float(mcnemar(better, worse)), sd, "exact McNemar", n - 1)
    mean = mean_with_error(differences, clusters)
    return _clipped(_t_test(mean, n, "cluster-robust t" if clustered else "paired t"))


def _clipped(difference: Comparison) -> Comparison:
    """Clip the interval to [-1, 1], the range of a difference between scores in [0, 1]."""
    return replace(difference, low=max(-1.0, difference.low), high=min(1.0, difference.high))


def _t_test(mean: Mean, n: int, test: str) -> Comparison:
    sd = mean.error * math.sqrt(n)
    if not math.isfinite(mean.error):
        return Comparison(mean.mean, -math.inf, math.inf, n, 1.0, math.inf, test)
    if mean.error == 0:
        return _no_variance(mean, n, test)
    reach = critical_t(mean.freedom) * mean.error
    p = float(two_sided_p(mean.mean / mean.error, mean.freedom))
    return Comparison(mean.mean, mean.mean - reach, mean.mean + reach, n, p, sd, test, mean.freedom)


def _no_variance(mean: Mean, n: int, test: str) -> Comparison:
    """The comparison if every unit has the same difference, so that the standard error is 0.

    Units outside the sample may differ by anything from -1 to 1; their share is at most the bound of Clopper and
    Pearson (1934). p is the level at which this interval reaches 0; if every difference is 1 or -1, it is that of
    the sign test.
    """
    units = mean.freedom + 1
    alike = (LEVEL / 2) ** (1 / units)
    p = min(1.0, 2 * (1 + abs(mean.mean)) ** -units)
    low, high = (mean.mean * alike + sign * (1 - alike) for sign in (-1, 1))
    return Comparison(mean.mean, low, high, n, p, 0.0, test, mean.freedom)


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Mean of after minus before over the same items, with Student's t interval; -1 to 1 for a single item."""
    mean = mean_with_error(np.subtract(after, before, dtype=float), None)
    difference = _clipped(_t_test(mean, len(before), "paired t"))
    return Interval(difference.value, difference.low, difference.high, difference.n)


def mcnemar(better: ArrayLike, worse: ArrayLike) -> Floats:
    """Exact two-sided p-value of McNemar's test from the two counts of discordant pairs (numbers or arrays)."""
    more, less = np.asarray(better, float), np.asarray(worse, float)
    return np.minimum(1.0, 2 * scipy_module("special").bdtr(np.minimum(more, less), (more + less).astype(int), 0.5))


def tango(better: int, worse: int, n: int) -> Interval:
    """Tango's score interval (1998) of the difference between two paired proportions, (better - worse) / n.

    better, worse: pairs in which only the first, only the second succeeded. The interval contains the differences whose
    score statistic is within +-z; bisection finds its bounds.
    """
    value, bisect = (better - worse) / n, scipy_module("optimize").bisect

    def beyond(delta: float, z: float) -> float:
        return float(tango_statistic(better, worse, n, delta)) - z

    low = -1.0 if beyond(-1.0, Z) <= 0 else float(bisect(beyond, -1.0, value, args=(Z,), xtol=1e-12))
    high = 1.0 if beyond(1.0, -Z) >= 0 else float(bisect(beyond, value, 1.0, args=(-Z,), xtol=1e-12))
    return Interval(value, low, high, n)


def tango_statistic(better: ArrayLike, worse: ArrayLike, n: int, delta: float) -> Floats:
    """Tango's score statistic for the hypothesis that the difference is `delta`; better and worse may be arrays.

    Under it the most likely probability of `worse` is the larger root of 2n x^2 + B x + C (Tango 1998, equation 2).
    """
    more, less = np.asarray(better, float), np.asarray(worse, float)
    b = (2 * n - more + less) * delta - more - less
    c = -less * delta * (1 - delta)
    likeliest = (np.sqrt(np.maximum(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * likeliest + delta * (1 - delta))
    surplus = more - less - n * delta
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = surplus / np.sqrt(np.maximum(0.0, variance))
    return np.where(surplus == 0, 0.0, statistic)


# Two samples that are not paired


def unpaired(values: ArrayLike, baseline: ArrayLike) -> Comparison:
    """The mean of one sample minus that of another, with at least two values in each (Welch's t)."""
    first, second = (np.asarray(sample, float) for sample in (values, baseline))
    errors = [(math.sqrt(float(sample.var(ddof=1)) / len(sample)), len(sample) - 1) for sample in (first, second)]
    return from_errors(float(first.mean() - second.mean()), errors, len(first) + len(second))


def from_errors(difference: float, errors: Sequence[tuple[float, float]], n: int) -> Comparison:
    """A difference of independent parts, each with a standard error and degrees of freedom (Satterthwaite)."""
    variance = sum(error**2 for error, _ in errors)
    below = sum(error**4 / freedom for error, freedom in errors)
    return _t_test(Mean(difference, math.sqrt(variance), variance**2 / below if below else math.inf), n, "Welch's t")


# Several training seeds


def compare_over_seeds(
    scores: ArrayLike, baseline: ArrayLike, clusters: Sequence[Hashable] | None = None
) -> Comparison:
    """scores minus baseline for methods trained with several seeds; shapes (seeds, items), the same items.

    Items and seeds are crossed. The variance of the difference is the variance over items (or clusters) of the mean
    over seeds, plus for each method the variance over seeds of the mean over items, minus the part that both contain;
    degrees of freedom by Satterthwaite. A method with one seed adds no seed variance, so the conclusion is about that
    checkpoint; with one seed on both sides this is `compare`.
    """
    methods = [np.atleast_2d(np.asarray(values, float)) for values in (scores, baseline)]
    if all(len(values) == 1 for values in methods):
        return compare(methods[0][0].tolist(), methods[1][0].tolist(), clusters)
    over_items = mean_with_error(methods[0].mean(0) - methods[1].mean(0), clusters)
    return _clipped(_t_test(_with_seeds(over_items, methods), methods[0].shape[1], "t over items and seeds crossed"))


def interval_over_seeds(scores: ArrayLike, clusters: Sequence[Hashable] | None = None) -> Interval | None:
    """A mean over items and training seeds, both of which vary; shape (seeds, items); None without a score.

    A result of two methods has a seed axis for each: (seeds, other seeds, items). The variance is that of
    `compare_over_seeds`; with a single seed, or if all scores are equal, the interval is that of `interval`.
    """
    values = np.atleast_2d(np.asarray(scores, float))
    axes = range(values.ndim - 1)
    n = values.shape[-1]
    if values.size == n or (values == values.flat[0]).all():
        return interval(values[(0,) * len(axes)].tolist(), clusters)
    methods = [values.mean(tuple(other for other in axes if other != axis)) for axis in axes]
    mean = _with_seeds(mean_with_error(values.mean(tuple(axes)), clusters), methods)
    reach = critical_t(mean.freedom) * mean.error if math.isfinite(mean.error) else 1.0
    return Interval(mean.mean, max(0.0, mean.mean - reach), min(1.0, mean.mean + reach), n)


def _with_seeds(over_items: Mean, methods: Sequence[Floats]) -> Mean:
    """The mean over items with the variance over each method's seeds added; shapes (seeds, items)."""
    parts = [(over_items.error**2, over_items.freedom)]
    for values in methods:
        if len(values) > 1:
            parts.append((seed_variance(values), len(values) - 1))
    variance = sum(part for part, _ in parts)
    below = sum(part**2 / freedom for part, freedom in parts if freedom and math.isfinite(part))
    return Mean(over_items.mean, math.sqrt(variance), variance**2 / below if below else over_items.freedom)


def seed_variance(values: ArrayLike) -> float:
    """The variance that training seeds add to a method's mean; shape (seeds, items); 0 with one seed."""
    scores = np.atleast_2d(np.asarray(values, float))
    seeds, n = scores.shape
    if seeds < 2:
        return 0.0
    return max(0.0, float(scores.mean(1).var(ddof=1)) / seeds - _interaction(scores) / (seeds * n))


def _interaction(values: Floats) -> float:
    """Mean square of the residual after item and seed effects; shape (seeds, items)."""
    seeds, n = values.shape
    residual = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    return float((residual**2).sum()) / ((seeds - 1) * max(1, n - 1))


def seed_spread(values: ArrayLike) -> float | None:
    """Standard deviation of a method's mean score over training seeds; shape (seeds, items); None with one seed."""
    means = np.atleast_2d(np.asarray(values, float)).mean(1)
    return float(means.std(ddof=1)) if len(means) > 1 else None


# Many comparisons


def pooled(strata: Sequence[Comparison]) -> Comparison:
    """The mean of the differences of several strata (tasks) with equal weights; the strata are fixed.

    Its variance is the sum of their variances over the square of their number; degrees of freedom by Satterthwaite. A
    single stratum is returned unchanged.
    """
    if len(strata) == 1:
        return strata[0]
    variances = [(s.error / len(strata)) ** 2 for s in strata]
    n, mean, total = sum(s.n for s in strata), float(np.mean([s.value for s in strata])), sum(variances)
    finite = math.isfinite(total)
    below = sum(v**2 / s.freedom for v, s in zip(variances, strata, strict=True)) if finite else 0.0
    return _t_test(Mean(mean, math.sqrt(total), total**2 / below if below else math.inf), n, "t, tasks pooled")


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that the chance of any false claim stays below the level (Holm 1979)."""
    order, corrected, least = np.argsort(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected


# Verdicts and power


def verdict(difference: Interval, margin: float) -> str:
    """better | no_worse | worse | inconclusive; a positive difference must be an improvement."""
    if difference.high < -margin:
        return "worse"
    if difference.low > 0:
        return "better"
    return "no_worse" if difference.low > -margin else "inconclusive"


def smallest_difference(
    n: int, sd: float, power: float = POWER, level: float = LEVEL, freedom: float = math.inf
) -> float:
    """The true difference that a two-sided test detects with this power; sd: of one item's difference.

    The quantiles of both the test and the power are Student's (Bloom 1995).
    """
    if n < 2 or not math.isfinite(sd) or freedom <= 0:
        return math.inf
    return (critical_t(freedom, level) + t_quantile(freedom, power)) * sd / math.sqrt(n)


def items_needed(difference: float, sd: float, power: float = POWER) -> int:
    """Items needed to detect this true difference with this power: the normal approximation (Chow et al. 2008)."""
    return max(2, math.ceil((_reach(power) * sd / difference) ** 2))


def needed_error(difference: float, power: float = POWER) -> float:
    """The standard error needed to detect this true difference with this power; see `items_needed`."""
    return difference / _reach(power)


def _reach(power: float) -> float:
    return Z + NormalDist().inv_cdf(power)
