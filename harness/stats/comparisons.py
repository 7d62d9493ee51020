"""How different two methods are, how sure that is, and how many items or seeds it would take."""

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
    """A difference over the same items, with its p-value under no difference and what could have been shown."""

    p: float
    sd: float
    """Of a single item's difference; where clusters are the unit, as if items were independent and as uncertain."""
    test: str
    freedom: float = math.inf
    """Degrees of freedom of its standard error."""

    @property
    def smallest_difference(self) -> float:
        """What this many items would have shown four times in five."""
        return self.smallest_of(1)

    def smallest_of(self, comparisons: int) -> float:
        """The same where the level is shared among so many comparisons (Bonferroni, Holm's first step)."""
        return smallest_difference(self.n, self.sd, level=LEVEL / comparisons, freedom=self.freedom)

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        return self.sd / math.sqrt(self.n)

    def p_below(self, bound: float = 0.0) -> float:
        """One-sided p: how likely a value this low is where the difference is truly `bound` (Student's t)."""
        if self.error == 0 or not math.isfinite(self.error):
            return 0.0 if self.error == 0 and self.value < bound else 1.0
        return float(scipy_module("special").stdtr(self.freedom, (self.value - bound) / self.error))


# Two methods on the same items


def compare(
    scores: Sequence[float], baseline: Sequence[float], clusters: Sequence[Hashable] | None = None
) -> Comparison:
    """scores minus baseline, item by item, of one checkpoint each.

    Of scores that are 0 or 1: Tango's interval and exact McNemar's p; of others, and over clusters: paired t.
    """
    ours, theirs = np.asarray(scores, float), np.asarray(baseline, float)
    differences = ours - theirs
    n = len(differences)
    clustered = int(groups_of(clusters, n).max()) + 1 < n
    if not clustered and set(np.unique([ours, theirs])) <= {0.0, 1.0}:
        better, worse = int((differences > 0).sum()), int((differences < 0).sum())
        found = tango(better, worse, n)
        sd = math.sqrt(max(0.0, (better + worse) / n - found.value**2) * n / max(1, n - 1))
        p = float(mcnemar(better, worse))
        return Comparison(found.value, found.low, found.high, n, p, sd, "exact McNemar", n - 1)
    mean = mean_with_error(differences, clusters)
    name = "cluster-robust t" if clustered else "paired t"
    return _of_scores(_by_t(mean, n, name))


def _of_scores(found: Comparison) -> Comparison:
    """No difference of scores in [0, 1] lies beyond -1 and 1."""
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))


def _by_t(mean: Mean, n: int, name: str) -> Comparison:
    sd = mean.error * math.sqrt(n)
    if not math.isfinite(mean.error):
        return Comparison(mean.mean, -math.inf, math.inf, n, 1.0, math.inf, name)
    if mean.error == 0:
        return _all_the_same(mean, n, name)
    reach = critical_t(mean.freedom) * mean.error
    p = float(two_sided_p(mean.mean / mean.error, mean.freedom))
    return Comparison(mean.mean, mean.mean - reach, mean.mean + reach, n, p, sd, name, mean.freedom)


def _all_the_same(mean: Mean, n: int, name: str) -> Comparison:
    """Every unit has the same difference: units that were not drawn may have another, anywhere from -1 to 1.

    The share of such units is at most what Clopper and Pearson (1934) allow. p is the level at which that interval
    reaches 0; where all units are wholly better it is that of the sign test.
    """
    units = mean.freedom + 1
    alike = (LEVEL / 2) ** (1 / units)
    p = min(1.0, 2 * (1 + abs(mean.mean)) ** -units)
    low, high = (mean.mean * alike + sign * (1 - alike) for sign in (-1, 1))
    return Comparison(mean.mean, low, high, n, p, 0.0, name, mean.freedom)


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Mean of after minus before over the same items, with Student's t interval; one item alone says nothing."""
    found = _of_scores(_by_t(mean_with_error(np.subtract(after, before, dtype=float), None), len(before), "paired t"))
    return Interval(found.value, found.low, found.high, found.n)


def mcnemar(better: ArrayLike, worse: ArrayLike) -> Floats:
    """Exact two-sided p-value of McNemar's test from the two counts of discordant pairs, which may be arrays."""
    more, less = np.asarray(better, float), np.asarray(worse, float)
    return np.minimum(1.0, 2 * scipy_module("special").bdtr(np.minimum(more, less), (more + less).astype(int), 0.5))


def tango(better: int, worse: int, n: int) -> Interval:
    """Tango's score interval (1998) of the difference of two paired proportions, (better - worse) / n.

    better, worse: pairs of which only the first, only the second succeeded. The interval is where the score statistic
    lies within +-z; its bounds are found by bisection.
    """
    value, bisect = (better - worse) / n, scipy_module("optimize").bisect

    def beyond(delta: float, z: float) -> float:
        return float(tango_statistic(better, worse, n, delta)) - z

    low = -1.0 if beyond(-1.0, Z) <= 0 else float(bisect(beyond, -1.0, value, args=(Z,), xtol=1e-12))
    high = 1.0 if beyond(1.0, -Z) >= 0 else float(bisect(beyond, value, 1.0, args=(-Z,), xtol=1e-12))
    return Interval(value, low, high, n)


def tango_statistic(better: ArrayLike, worse: ArrayLike, n: int, delta: float) -> Floats:
    """Tango's score statistic of the hypothesis that the difference is `delta`; better and worse may be arrays.

    Under it the most likely probability of `worse` is the larger root of 2n x^2 + B x + C (Tango 1998, equation 2).
    """
    more, less = np.asarray(better, float), np.asarray(worse, float)
    b = (2 * n - more + less) * delta - more - less
    c = -less * delta * (1 - delta)
    likeliest = (np.sqrt(np.maximum(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * likeliest + delta * (1 - delta))
    surplus = more - less - n * delta
    with np.errstate(divide="ignore", invalid="ignore"):
        found = surplus / np.sqrt(np.maximum(0.0, variance))
    return np.where(surplus == 0, 0.0, found)


# Two samples that are not paired


def unpaired(values: ArrayLike, baseline: ArrayLike) -> Comparison:
    """The mean of one sample minus that of another, each of two values or more (Welch's t)."""
    ours, theirs = (np.asarray(sample, float) for sample in (values, baseline))
    errors = [(math.sqrt(float(sample.var(ddof=1)) / len(sample)), len(sample) - 1) for sample in (ours, theirs)]
    return from_errors(float(ours.mean() - theirs.mean()), errors, len(ours) + len(theirs))


def from_errors(difference: float, errors: Sequence[tuple[float, float]], n: int) -> Comparison:
    """A difference whose parts have these standard errors and degrees of freedom (Satterthwaite)."""
    variance = sum(error**2 for error, _ in errors)
    below = sum(error**4 / freedom for error, freedom in errors)
    return _by_t(Mean(difference, math.sqrt(variance), variance**2 / below if below else math.inf), n, "Welch's t")


# Several training seeds


def compare_over_seeds(
    scores: ArrayLike, baseline: ArrayLike, clusters: Sequence[Hashable] | None = None
) -> Comparison:
    """scores minus baseline where each has been trained with several seeds; shapes (seeds, items), the same items.

    Items and seeds are crossed. The variance of the difference is that over items (or clusters) of the seeds' mean,
    plus for each method that over seeds of the items' mean, less what both contain; degrees of freedom after
    Satterthwaite. A method with one seed adds no variance of seeds, so the conclusion is on that checkpoint; where both
    have one it is `compare`.
    """
    methods = [np.atleast_2d(np.asarray(values, float)) for values in (scores, baseline)]
    if all(len(values) == 1 for values in methods):
        return compare(methods[0][0].tolist(), methods[1][0].tolist(), clusters)
    over_items = mean_with_error(methods[0].mean(0) - methods[1].mean(0), clusters)
    return _of_scores(_by_t(_with_seeds(over_items, methods), methods[0].shape[1], "t over items and seeds crossed"))


def interval_over_seeds(scores: ArrayLike, clusters: Sequence[Hashable] | None = None) -> Interval | None:
    """A mean over items and training seeds, shape (seeds, items), both of which vary; None without a score.

    What two methods make together has an axis of seeds for each: (seeds, other seeds, items). As `compare_over_seeds`;
    of a single seed, and where all scores are the same 0 or 1, as `interval`.
    """
    values = np.atleast_2d(np.asarray(scores, float))
    axes = range(values.ndim - 1)
    n = values.shape[-1]
    if values.size == n or (values == values.flat[0]).all():
        return interval(values[(0,) * len(axes)].tolist(), clusters)
    methods = [values.mean(tuple(other for other in axes if other != axis)) for axis in axes]
    found = _with_seeds(mean_with_error(values.mean(tuple(axes)), clusters), methods)
    reach = critical_t(found.freedom) * found.error if math.isfinite(found.error) else 1.0
    return Interval(found.mean, max(0.0, found.mean - reach), min(1.0, found.mean + reach), n)


def _with_seeds(over_items: Mean, methods: Sequence[Floats]) -> Mean:
    """What varies over items together with what varies over each method's seeds; shapes (seeds, items)."""
    parts = [(over_items.error**2, over_items.freedom)]
    for values in methods:
        if len(values) > 1:
            parts.append((seed_variance(values), len(values) - 1))
    variance = sum(part for part, _ in parts)
    below = sum(part**2 / freedom for part, freedom in parts if freedom and math.isfinite(part))
    return Mean(over_items.mean, math.sqrt(variance), variance**2 / below if below else over_items.freedom)


def seed_variance(values: ArrayLike) -> float:
    """What training seeds add to the variance of a method's mean; shape (seeds, items); 0 where it cannot be known."""
    scores = np.atleast_2d(np.asarray(values, float))
    seeds, n = scores.shape
    if seeds < 2:
        return 0.0
    return max(0.0, float(scores.mean(1).var(ddof=1)) / seeds - _interaction(scores) / (seeds * n))


def _interaction(values: Floats) -> float:
    """Mean square of what neither the item nor the seed explains; shape (seeds, items)."""
    seeds, n = values.shape
    left = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    return float((left**2).sum()) / ((seeds - 1) * max(1, n - 1))


def seed_spread(values: ArrayLike) -> float | None:
    """Standard deviation of a method's mean score over training seeds; shape (seeds, items); None of a single seed."""
    means = np.atleast_2d(np.asarray(values, float)).mean(1)
    return float(means.std(ddof=1)) if len(means) > 1 else None


# Many comparisons


def pooled(strata: Sequence[Comparison]) -> Comparison:
    """The mean of the differences of several strata (tasks), each with the same weight; the strata are fixed.

    Its variance is the sum of theirs over their number squared, degrees of freedom after Satterthwaite. A single
    stratum stays what it is.
    """
    if len(strata) == 1:
        return strata[0]
    variances = [(found.error / len(strata)) ** 2 for found in strata]
    n, mean, total = sum(found.n for found in strata), float(np.mean([found.value for found in strata])), sum(variances)
    finite = math.isfinite(total)
    below = sum(v**2 / found.freedom for v, found in zip(variances, strata, strict=True)) if finite else 0.0
    return _by_t(Mean(mean, math.sqrt(total), total**2 / below if below else math.inf), n, "t, tasks pooled")


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that the chance of any false claim stays under the level (Holm 1979)."""
    order, corrected, least = np.argsort(p_values), [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = least
    return corrected


# Verdicts and power


def verdict(difference: Interval, margin: float) -> str:
    """better | no_worse | worse | inconclusive, of a difference in the metric's good direction."""
    if difference.high < -margin:
        return "worse"
    if difference.low > 0:
        return "better"
    return "no_worse" if difference.low > -margin else "inconclusive"


def smallest_difference(
    n: int, sd: float, power: float = POWER, level: float = LEVEL, freedom: float = math.inf
) -> float:
    """The true difference that a two-sided test finds with this power; sd: of an item's difference.

    The quantiles are Student's, of the test and of the power (Bloom 1995).
    """
    if n < 2 or not math.isfinite(sd) or freedom <= 0:
        return math.inf
    return (critical_t(freedom, level) + t_quantile(freedom, power)) * sd / math.sqrt(n)


def items_needed(difference: float, sd: float, power: float = POWER) -> int:
    """Items on which such a true difference is found with this power: the normal approximation (Chow et al. 2008)."""
    return max(2, math.ceil((_reach(power) * sd / difference) ** 2))


def needed_error(difference: float, power: float = POWER) -> float:
    """The standard error at which such a true difference is found with this power; items_needed in other words."""
    return difference / _reach(power)


def _reach(power: float) -> float:
    return Z + NormalDist().inv_cdf(power)
