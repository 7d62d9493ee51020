"""Plans a check before anything is run: how many items and training seeds it needs.

On one task the difference between two methods has the variance item_sd^2 / items + (sides trained) x seed_sd^2 / seeds,
as `gate.py` measures it afterwards; the variance of a mean over tasks is the sum over tasks divided by their number
squared. An equal method passes if the lower end of the interval is above minus the margin, which has a probability of
about Phi(margin / error - t), with Student's t for the degrees of freedom of so few seeds (Satterthwaite).

>>> plan({"ticket_routing": 1000, "house_style": 1000}, trained=2, gate=Gate(margin=0.05))
Plan(items={'ticket_routing': 200, 'house_style': 200}, seeds=3, ...)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

import msgspec

from harness import stats
from harness.check.margins import Share
from harness.typed import typed

FEWEST_ITEMS = 100
Count = Annotated[int, msgspec.Meta(ge=1)]


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requirements of a check, and assumptions about equal methods (conf/experiment/gate.yaml)."""

    margin: Share = 0.05
    item_sd: Share = 0.2
    """Of one item's difference between the two methods, each averaged over its seeds."""
    seed_sd: Share = 0.02
    """Of a method's mean score over training seeds."""
    seeds: Count | None = None
    """None: as many as needed."""
    most_seeds: Count = 10

    @classmethod
    def of(cls, config: Mapping[str, object] | None) -> Gate:
        """From a configuration's `gate`; UserError if a setting is unknown or out of range."""
        return typed(config or {}, cls, "gate.")


@dataclass(frozen=True)
class Plan:
    """What to run, and how often an equal method then passes."""

    items: Mapping[str, int]
    """By task."""
    seeds: int
    gate: Gate
    trained: int
    """How many of the two sides are trained: 0, 1 or 2."""

    @property
    def power(self) -> float:
        """The probability that an equal method passes."""
        return _passes(self.gate.margin, *self._error())

    @property
    def reached(self) -> float:
        """The smallest margin at which an equal method would pass with 80 % probability."""
        error, freedom = self._error()
        return error * (stats.critical_t(freedom) + NormalDist().inv_cdf(stats.POWER))

    def _error(self) -> tuple[float, float]:
        """Standard error of the mean difference over tasks, and its degrees of freedom."""
        count = len(self.items)
        parts = []
        for n in self.items.values():
            parts.append((self.gate.item_sd**2 / n / count**2, n - 1))
            parts += [(self.gate.seed_sd**2 / self.seeds / count**2, self.seeds - 1)] * self.trained
        variance = sum(part for part, _ in parts)
        below = sum(part**2 / freedom for part, freedom in parts)
        return math.sqrt(variance), variance**2 / below

    def sentences(self) -> Iterator[str]:
        gate = self.gate
        items = ", ".join(f"{task} {n:,}" for task, n in self.items.items())
        yield f"Items: {items}. Training seeds: {self.seeds}. Margin: {gate.margin * 100:.3g} points."
        yield (
            f"Assumed standard deviations: {gate.item_sd:.3g} for one item's difference (gate.item_sd), "
            f"{gate.seed_sd * 100:.3g} points for a method over training seeds (gate.seed_sd)."
        )
        chances = f"An equal method passes in about {self.power * 100:.0f} %, one worse by the margin in 2.5 %."
        if self.power < stats.POWER:
            chances += f" To reach 80 %, use a margin of {self.reached * 100:.2g} points or more seeds."
        yield chances


def plan(available: Mapping[str, int], trained: int, gate: Gate, limit: int | None = None) -> Plan:
    """The fewest items and seeds with which an equal method passes with 80 % probability, or the most available.

    available: test items of each task. limit: items set in the configuration; then only the seeds are chosen. Items may
    use half of the allowed variance, seeds the rest.
    """
    items = {task: min(n, limit) if limit else n for task, n in available.items()}
    if limit is None:
        needed = _items_for(stats.needed_error(gate.margin) ** 2 / 2, gate.item_sd, len(available))
        items = {task: min(n, needed) for task, n in available.items()}
    seeds = range(stats.FEWEST_SEEDS, max(stats.FEWEST_SEEDS, gate.most_seeds) + 1) if trained else (1,)
    plans = [Plan(items, count, gate, trained) for count in ([gate.seeds] if gate.seeds else seeds)]
    return next((plan for plan in plans if plan.power >= stats.POWER), plans[-1])


def _items_for(variance: float, item_sd: float, tasks: int) -> int:
    """Items per task, doubled from FEWEST_ITEMS until they alone give the mean over tasks this variance."""
    items = FEWEST_ITEMS
    while item_sd**2 / items / tasks > variance:
        items *= 2
    return items


def _passes(margin: float, error: float, freedom: float) -> float:
    return NormalDist().cdf(margin / error - stats.critical_t(freedom))
