"""How many items and training seeds a check needs, before anything is run.

The difference between two methods on a task has the variance item_sd^2 / items + (sides trained) x seed_sd^2 / seeds,
as `gate.py` finds it afterwards; a mean over tasks that of its parts over their number squared. An equal method passes
where the lower end of the interval lies above the margin: in about Phi(margin / error - t), with Student's t of the
degrees of freedom that so few seeds leave (Satterthwaite).

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
    """What is asked of a check, and what is assumed of methods that are equal (conf/experiment/gate.yaml)."""

    margin: Share = 0.05
    item_sd: Share = 0.2
    """Of an item's difference between the two, each averaged over its seeds."""
    seed_sd: Share = 0.02
    """Of a method's value over training seeds."""
    seeds: Count | None = None
    """None: as many as are needed."""
    most_seeds: Count = 10

    @classmethod
    def of(cls, given: Mapping[str, object] | None) -> Gate:
        """From a configuration's `gate`; UserError if a setting is unknown or out of range."""
        return typed(given or {}, cls, "gate.")


@dataclass(frozen=True)
class Plan:
    """What will be run, and how often that lets an equal method pass."""

    items: Mapping[str, int]
    """Of each task."""
    seeds: int
    gate: Gate
    trained: int
    """How many of the two sides are trained."""

    @property
    def power(self) -> float:
        """How often an equal method passes."""
        return _passes(self.gate.margin, *self._error())

    @property
    def reached(self) -> float:
        """The smallest margin at which an equal method would pass four times in five."""
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
            f"Assumed (gate.item_sd, gate.seed_sd): an item's difference has an sd of {gate.item_sd:.3g}, "
            f"a method's value over training seeds one of {gate.seed_sd * 100:.3g} points."
        )
        chances = f"An equal method then passes in about {self.power * 100:.0f} %, one worse by the margin in 2.5 %."
        if self.power < stats.POWER:
            chances += f" Four times in five would take a margin of {self.reached * 100:.2g} points, or more seeds."
        yield chances


def plan(available: Mapping[str, int], trained: int, gate: Gate, limit: int | None = None) -> Plan:
    """The fewest items and seeds with which an equal method passes four times in five, as far as that can be had.

    available: test items of each task. limit: items that the configuration asks for; then only seeds are chosen. Items
    are given half of the variance that may be, seeds the rest.
    """
    items = {task: min(n, limit) if limit else n for task, n in available.items()}
    if limit is None:
        wanted = _items_for(stats.needed_error(gate.margin) ** 2 / 2, gate.item_sd, len(available))
        items = {task: min(n, wanted) for task, n in available.items()}
    seeds = range(stats.FEWEST_SEEDS, max(stats.FEWEST_SEEDS, gate.most_seeds) + 1) if trained else (1,)
    plans = [Plan(items, one, gate, trained) for one in ([gate.seeds] if gate.seeds else seeds)]
    return next((one for one in plans if one.power >= stats.POWER), plans[-1])


def _items_for(variance: float, item_sd: float, tasks: int) -> int:
    """Items of each task, in doublings, with which items alone leave the mean over tasks this variance."""
    items = FEWEST_ITEMS
    while item_sd**2 / items / tasks > variance:
        items *= 2
    return items


def _passes(margin: float, error: float, freedom: float) -> float:
    return NormalDist().cdf(margin / error - stats.critical_t(freedom))
