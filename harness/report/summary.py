"""The answer for a task, in sentences: what is recommended, what it brings, and what is no worse and cheaper.

The recommendation is `harness decide`'s without limits, made on validation; test values say what it is worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.decide.choose import NOT_CHOSEN, Strategy, zero_shot
from harness.records import measures
from harness.records.cohorts import Cohort, Row
from harness.records.measures import UNTRAINED
from harness.records.record import Record
from harness.report.comparisons import Comparisons, Pair, p_value
from harness.text import markdown, with_interval


def sentence(cohort: Cohort, comparisons: Comparisons, chosen: Strategy | None) -> str:
    """The recommendation with its test value, the gain over zero-shot, and the cheapest equivalent method."""
    if chosen is None:
        return "no run has a validation value, so no method is chosen."
    first = f"{_chosen(cohort, chosen)}{_over_zero_shot(cohort, chosen, comparisons)}."
    untuned = chosen.row.record.training and measures.tries(chosen.row.record) < 2
    remarks = ["Its learning rate was not tuned."] if untuned else []
    return " ".join([first, *_cheaper(chosen, comparisons), *remarks])


def _chosen(cohort: Cohort, chosen: Strategy) -> str:
    record, value, best = chosen.row.record, chosen.values[chosen.row.name], chosen.values[chosen.best.name]
    n = record.validation and record.validation.n
    items = f", {n:,.0f} items" if n is not None else ""
    seeds = len(chosen.row.runs)
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    validated = f"({markdown(cohort.metric)} {value:.3f}{items}{mean})"
    if value < best:
        why = f"is the cheapest of {len(chosen.alike)} as good as the best on validation {validated}"
        why += f"; {markdown(chosen.best.name)} has {best:.3f} there"
    else:
        level = [row.name for row in chosen.alike if row is not chosen.row and chosen.values[row.name] == value]
        tied = f", level with {markdown(', '.join(level))}" if level else ""
        why = f"has the highest validation value {validated}{tied}"
    return f"{markdown(chosen.row.name)} {why}; on the test split it reaches {_test_value(cohort, record)}"


def _test_value(cohort: Cohort, record: Record) -> str:
    estimate = measures.quality(record)
    if estimate is None:
        return "no value, because none was recorded"
    items = f"{cohort.key.items or 0:,} items"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f} ({items})"
    return f"{estimate.value:.2f} (95 % interval {estimate.low:.2f} to {estimate.high:.2f}, {items})"


def _over_zero_shot(cohort: Cohort, chosen: Strategy, comparisons: Comparisons) -> str:
    """`, 12 points over zero_shot (95 % interval 8 to 16)`; without per-item scores zero-shot's own value."""
    row = zero_shot(cohort)
    if row is None or chosen.row.record.method == UNTRAINED:
        return ""
    pair = comparisons.between(chosen.row.name, row.name)
    if pair is None:
        return f", and {UNTRAINED} {with_interval(measures.quality(row.record))}"
    difference = pair.seen_from(chosen.row.name)
    way = "over" if difference.value >= 0 else "under"
    low, high = (difference.low, difference.high) if difference.value >= 0 else (-difference.high, -difference.low)
    sure = _in_doubt(comparisons, pair)
    interval = f"95 % interval {100 * low:.0f} to {100 * high:.0f}"
    return f", {_points(abs(difference.value))} {way} {UNTRAINED} ({interval}{sure})"


def _in_doubt(comparisons: Comparisons, pair: Pair) -> str:
    if pair.differ:
        return ""
    pairs = len(comparisons.pairs)
    p = f"p {p_value(pair.corrected)}"
    if pairs > 1:
        p += f" corrected for all {pairs:,} pairs, {p_value(pair.difference.p)} uncorrected"
    return f"; not significant: {p}{_detectable(comparisons, pair)}"


def _cheaper(chosen: Strategy, comparisons: Comparisons) -> Iterator[str]:
    """A method that does not differ significantly from the choice and needs least memory, then least training."""
    alike = comparisons.alike(chosen.row.name)
    cheaper = [
        cell for cell in alike if cell.row.record.context not in NOT_CHOSEN and _costs(cell.row) < _costs(chosen.row)
    ]
    if not cheaper:
        return
    least = min(cheaper, key=lambda cell: _costs(cell.row))
    pair = comparisons.between(chosen.row.name, least.name)
    assert pair is not None
    name, share = markdown(least.name), _share(least.row, chosen.row)
    if not share:
        return
    if least.name == UNTRAINED:  # which the sentence before has named
        yield f"{name} needs {share}."
    else:
        difference = _points(pair.seen_from(least.name).value, signed=True)
        known = f"{difference}{_detectable(comparisons, pair)}"
        yield f"{name} is not significantly different from it ({known}) and needs {share}."


def _detectable(comparisons: Comparisons, pair: Pair) -> str:
    """Nothing if all items have the same difference, because the variance is then zero."""
    if not comparisons.could_show(pair):
        return "; too few items and seeds to show a difference of any size"
    smallest = comparisons.smallest_difference(pair)
    return f"; smallest detectable difference {_points(smallest)}" if smallest > 0 else ""


def _points(difference: float, *, signed: bool = False) -> str:
    number = f"{100 * difference:+.0f}" if signed else f"{100 * difference:.0f}"
    return f"{number} point{'s' * (number.lstrip('+-') != '1')}"


def _costs(row: Row) -> tuple[float, float]:
    """Peak bytes and training seconds; infinite if unknown, so that such a run counts as the most expensive."""
    memory = measures.peak_memory(row.record)
    seconds = (row.record.training and row.record.training.seconds) if row.record.training else 0.0
    return memory if memory is not None else float("inf"), seconds if seconds is not None else float("inf")


def _share(row: Row, chosen: Row) -> str:
    memory, seconds = _costs(row)
    whole, whole_seconds = _costs(chosen)
    shares = [("memory", memory, whole), ("training time", seconds, whole_seconds)]
    known = [(what, part / base) for what, part, base in shares if 0 < part < math.inf and 0 < base < math.inf]
    return " and ".join(f"{100 * share:.0f} % of its {what}" for what, share in known)
