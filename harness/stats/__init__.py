"""Statistics of per-item scores, as pure functions: how well, how different, how sure, how many items it would take.

>>> interval([1, 1, 0, 1])
Interval(value=0.75, low=0.300..., high=0.954..., n=4)
>>> compare([1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 0, 1])        # the same items, one checkpoint each
Comparison(value=0.333..., low=-0.119..., high=0.700..., n=6, p=0.5, ..., test='exact McNemar')

Items are the unit; items that share a template or a document are no independent ones, so where clusters are given these
are the unit. Over several training seeds, items and seeds both vary: `compare_over_seeds` keeps the two apart.
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
