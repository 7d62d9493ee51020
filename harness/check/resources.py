"""What a candidate takes, as a ratio to the baseline: training time, latency, peak memory.

The ratio is the geometric mean over tasks of candidate / baseline, each side the geometric mean over its seeds. Its
95 % interval is that of several seeds on both sides (Welch's t on logarithms), or, for a latency of which a side has
one run, of the requests of one run alone, from their quartiles (the median's error is 1.2533 / 1.349 of the quartile
distance over sqrt(n)), which leaves out what another start of the process would change. Without either there is no
interval and no verdict. Figures of other hardware, or contaminated ones, are inconclusive whatever they say; and only
figures of three seeds or more on both sides count for the gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import stats
from harness.records import measures
from harness.records.methods import Method
from harness.records.record import Record
from harness.stats import FEWEST_SEEDS, Comparison
from harness.text import plain


@dataclass(frozen=True)
class Figure:
    name: str
    """As margins and the JSON call it."""
    title: str
    read: Callable[[Record], float | None]
    disturbed: str
    """Its name among a record's contaminated figures."""


FIGURES = (
    Figure("training_seconds", "training time", lambda record: record.training and record.training.seconds, "training"),
    Figure("latency_ms", "latency p50", measures.latency, "latency"),
    Figure("peak_memory", "peak memory", measures.peak_memory, "memory"),
)


@dataclass(frozen=True)
class Ratio:
    """Candidate over baseline; below 1 is better."""

    figure: Figure
    value: float | None
    low: float | None
    high: float | None
    margin: float
    verdict: str
    """better | no_worse | worse | inconclusive."""
    interval: str | None
    """What the interval is over: seeds | requests."""
    undecided: tuple[str, ...]
    """Why it does not count for the gate; empty where it does."""

    @property
    def decides(self) -> bool:
        return not self.undecided


def ratios(pairs: Mapping[str, tuple[Method, Method]], margins: Mapping[str, float]) -> list[Ratio]:
    """Every figure over the tasks, baseline first in each pair."""
    return [_ratio(figure, pairs, margins[figure.name]) for figure in FIGURES]


def _ratio(figure: Figure, pairs: Mapping[str, tuple[Method, Method]], margin: float) -> Ratio:
    sides = {task: tuple(_values(figure, method) for method in pair) for task, pair in pairs.items()}
    measured = {task: pair for task, pair in pairs.items() if all(sides[task])}
    if not measured:
        return Ratio(figure, None, None, None, margin, "inconclusive", None, ("not measured on both sides",))
    disturbances = sorted({said for baseline, candidate in measured.values() for said in _other(baseline, candidate)})
    disturbances += sorted(
        {said for pair in measured.values() for method in pair for said in _disturbed(figure, method)}
    )
    found, over = _pooled(figure, measured)
    few = min(len(values) for task in measured for values in sides[task])
    undecided = [*disturbances]
    undecided += [f"not measured on both sides of {plain(task)}" for task in sides if task not in measured]
    undecided += [f"{few} of at least {FEWEST_SEEDS} runs on a side"] if few < FEWEST_SEEDS else []
    said = "inconclusive" if disturbances or over is None else stats.verdict(_better(found), math.log1p(margin))
    low, high = (math.exp(found.low), math.exp(found.high)) if over else (None, None)
    return Ratio(figure, math.exp(found.value), low, high, margin, said, over, tuple(undecided))


def _values(figure: Figure, method: Method) -> list[float]:
    return [value for record in method.records if (value := figure.read(record))]


def _better(found: Comparison) -> stats.Interval:
    """The logarithm of the ratio turned round, so that more is better."""
    return stats.Interval(-found.value, -found.high, -found.low, found.n)


def _pooled(figure: Figure, pairs: Mapping[str, tuple[Method, Method]]) -> tuple[Comparison, str | None]:
    """The mean over tasks of the logarithm of the ratio, and what its interval is over."""
    for over, spread in (("seeds", _over_seeds), ("requests", _over_requests)):
        found = [spread(figure, *pair) for pair in pairs.values()]
        if all(one is not None for one in found):
            return stats.pooled([one for one in found if one is not None]), over
    means = [_log_mean(_values(figure, ours)) - _log_mean(_values(figure, theirs)) for theirs, ours in pairs.values()]
    value = sum(means) / len(means)
    return Comparison(value, -math.inf, math.inf, len(means), 1.0, math.inf, "none"), None


def _over_seeds(figure: Figure, baseline: Method, candidate: Method) -> Comparison | None:
    ours, theirs = _values(figure, candidate), _values(figure, baseline)
    if min(len(ours), len(theirs)) < 2:
        return None
    return stats.unpaired(np.log(ours), np.log(theirs))


def _over_requests(figure: Figure, baseline: Method, candidate: Method) -> Comparison | None:
    if figure.name != "latency_ms":
        return None
    sides = [_requests(method.records) for method in (candidate, baseline)]
    if any(side is None for side in sides):
        return None
    (ours, error, n), (theirs, other_error, other_n) = (side for side in sides if side is not None)
    return stats.from_errors(ours - theirs, [(error, n - 1), (other_error, other_n - 1)], n + other_n)


def _requests(records: Sequence[Record]) -> tuple[float, float, int] | None:
    """Logarithm of the median of a process's requests, its standard error, and how many there were."""
    first = next((record for record in records if measures.latency(record)), None)
    timed = first.inference.latency_ms if first and first.inference else None
    if timed is None or not timed.p50 or timed.spread is None or timed.n is None or timed.n < 2:
        return None
    return math.log(timed.p50), 1.2533 * timed.spread / 1.349 / math.sqrt(timed.n), int(timed.n)


def _log_mean(values: Sequence[float]) -> float:
    return float(np.log(values).mean())


def _other(baseline: Method, candidate: Method) -> Iterator[str]:
    """Hardware that differs, of all runs of both."""
    for what, read in (
        ("hardware", measures.hardware),
        ("kind of device", measures.device_kind),
        ("kind of memory reading", measures.memory_kind),
    ):
        ours, theirs = ({read(record) for record in method.records} for method in (candidate, baseline))
        if len(ours | theirs) > 1:
            names = (" and ".join(sorted(plain(value) for value in side)) for side in (theirs, ours))
            yield "other {}: the baseline ran on {}, the candidate on {}".format(what, *names)


def _disturbed(figure: Figure, method: Method) -> Iterator[str]:
    for record in method.records:
        for remark in measures.contaminated(record).get(figure.disturbed, ()):
            yield f"contaminated: {plain(remark)}"
