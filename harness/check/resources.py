"""Resources of a candidate relative to the baseline: training time, latency, peak memory.

The ratio is the geometric mean over tasks of candidate / baseline; each side is the geometric mean over its seeds. With
several seeds on both sides, its 95 % interval is Welch's t on logarithms. If a side has one run, the interval of a
latency comes from the requests of one run: the median's standard error is 1.2533 / 1.349 of the interquartile range
over sqrt(n). It ignores variation between starts of the process. Otherwise there is no interval and no verdict. Figures
from different hardware, and contaminated ones, are always inconclusive. Only figures of at least three seeds on both
sides count for the gate.
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
    """Its name in margins and in the JSON."""
    title: str
    read: Callable[[Record], float | None]
    contaminated: str
    """Its name in a record's `contaminated`."""


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
    """The unit of the interval: seeds | requests."""
    undecided: tuple[str, ...]
    """Why the ratio does not count for the gate; empty if it does."""

    @property
    def decides(self) -> bool:
        return not self.undecided


def ratios(pairs: Mapping[str, tuple[Method, Method]], margins: Mapping[str, float]) -> list[Ratio]:
    """The ratio of every figure over the tasks. pairs: (baseline, candidate) by task."""
    return [_ratio(figure, pairs, margins[figure.name]) for figure in FIGURES]


def _ratio(figure: Figure, pairs: Mapping[str, tuple[Method, Method]], margin: float) -> Ratio:
    sides = {task: tuple(_values(figure, method) for method in pair) for task, pair in pairs.items()}
    measured = {task: pair for task, pair in pairs.items() if all(sides[task])}
    if not measured:
        return Ratio(figure, None, None, None, margin, "inconclusive", None, ("not measured on both sides",))
    obstacles = sorted({text for pair in measured.values() for text in _different_hardware(*pair)})
    obstacles += sorted({text for pair in measured.values() for method in pair for text in _remarks(figure, method)})
    log_ratio, unit = _pooled(figure, measured)
    few = min(len(values) for task in measured for values in sides[task])
    undecided = [*obstacles]
    undecided += [f"not measured on both sides of {plain(task)}" for task in sides if task not in measured]
    undecided += [f"{few} of {FEWEST_SEEDS} runs needed on a side"] if few < FEWEST_SEEDS else []
    verdict = "inconclusive" if obstacles or unit is None else stats.verdict(_negated(log_ratio), math.log1p(margin))
    low, high = (math.exp(log_ratio.low), math.exp(log_ratio.high)) if unit else (None, None)
    return Ratio(figure, math.exp(log_ratio.value), low, high, margin, verdict, unit, tuple(undecided))


def _values(figure: Figure, method: Method) -> list[float]:
    return [value for record in method.records if (value := figure.read(record))]


def _negated(log_ratio: Comparison) -> stats.Interval:
    """The negative logarithm of the ratio, so that higher is better."""
    return stats.Interval(-log_ratio.value, -log_ratio.high, -log_ratio.low, log_ratio.n)


def _pooled(figure: Figure, pairs: Mapping[str, tuple[Method, Method]]) -> tuple[Comparison, str | None]:
    """The mean over tasks of the logarithm of the ratio, and the unit of its interval."""
    for unit, compare in (("seeds", _over_seeds), ("requests", _over_requests)):
        comparisons = [compare(figure, *pair) for pair in pairs.values()]
        if all(c is not None for c in comparisons):
            return stats.pooled([c for c in comparisons if c is not None]), unit
    means = [_log_mean(_values(figure, new)) - _log_mean(_values(figure, old)) for old, new in pairs.values()]
    value = sum(means) / len(means)
    return Comparison(value, -math.inf, math.inf, len(means), 1.0, math.inf, "none"), None


def _over_seeds(figure: Figure, baseline: Method, candidate: Method) -> Comparison | None:
    new, old = _values(figure, candidate), _values(figure, baseline)
    if min(len(new), len(old)) < 2:
        return None
    return stats.unpaired(np.log(new), np.log(old))


def _over_requests(figure: Figure, baseline: Method, candidate: Method) -> Comparison | None:
    if figure.name != "latency_ms":
        return None
    sides = [_requests(method.records) for method in (candidate, baseline)]
    if any(side is None for side in sides):
        return None
    (new, error, n), (old, old_error, old_n) = (side for side in sides if side is not None)
    return stats.from_errors(new - old, [(error, n - 1), (old_error, old_n - 1)], n + old_n)


def _requests(records: Sequence[Record]) -> tuple[float, float, int] | None:
    """The logarithm of the first measured run's median latency, its standard error, and the number of requests."""
    first = next((record for record in records if measures.latency(record)), None)
    times = first.inference.latency_ms if first and first.inference else None
    if times is None or not times.p50 or times.spread is None or times.n is None or times.n < 2:
        return None
    return math.log(times.p50), 1.2533 * times.spread / 1.349 / math.sqrt(times.n), int(times.n)


def _log_mean(values: Sequence[float]) -> float:
    return float(np.log(values).mean())


def _different_hardware(baseline: Method, candidate: Method) -> Iterator[str]:
    """How the hardware or the memory reading differs between any runs of the two."""
    for name, read in (
        ("hardware", measures.hardware),
        ("kind of device", measures.device_kind),
        ("kind of memory reading", measures.memory_kind),
    ):
        before, after = ({read(record) for record in method.records} for method in (baseline, candidate))
        if len(before | after) > 1:
            old, new = (" and ".join(sorted(plain(value) for value in side)) for side in (before, after))
            yield f"different {name}: the baseline ran on {old}, the candidate on {new}"


def _remarks(figure: Figure, method: Method) -> Iterator[str]:
    for record in method.records:
        for remark in measures.contaminated(record).get(figure.contaminated, ()):
            yield f"contaminated: {plain(remark)}"
