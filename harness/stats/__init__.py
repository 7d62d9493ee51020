"""Statistics of per-item scores, as pure functions: means, paired differences, intervals, tests and sample sizes.

>>> interval([1, 1, 0, 1])
Interval(value=0.75, low=0.300..., high=0.954..., n=4)
>>> compare([1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 0, 1])        # the same items, one checkpoint each
Comparison(value=0.333..., low=-0.119..., high=0.700..., n=6, p=0.5, ..., test='exact McNemar')

The unit is the item. Items that share a template or a document are not independent: if clusters are given, the cluster
is the unit. With several training seeds both items and seeds vary: `compare_over_seeds` separates the two.
"""

from harness.stats.comparisons import (
    Comparison,
    compare,
    compare_over_seeds,
    from_errors,
    holm,
    interval_over_seeds,
    items_needed,
    mcnemar,
    needed_error,
    paired_difference,
    pooled,
    seed_spread,
    seed_variance,
    smallest_difference,
    tango,
    tango_statistic,
    unpaired,
    verdict,
)
from harness.stats.intervals import (
    CONFIDENCE,
    FEWEST_SEEDS,
    LEVEL,
    POWER,
    Estimate,
    Floats,
    Interval,
    Number,
    Summary,
    Z,
    critical_t,
    interval,
    mean_interval,
    summary,
    two_sided_p,
    wilson,
)

__all__ = [
    "CONFIDENCE",
    "FEWEST_SEEDS",
    "LEVEL",
    "POWER",
    "Comparison",
    "Estimate",
    "Floats",
    "Interval",
    "Number",
    "Summary",
    "Z",
    "compare",
    "compare_over_seeds",
    "critical_t",
    "from_errors",
    "holm",
    "interval",
    "interval_over_seeds",
    "items_needed",
    "mcnemar",
    "mean_interval",
    "needed_error",
    "paired_difference",
    "pooled",
    "seed_spread",
    "seed_variance",
    "smallest_difference",
    "summary",
    "tango",
    "tango_statistic",
    "two_sided_p",
    "unpaired",
    "verdict",
    "wilson",
]
