"""How often `harness check` says what it should, simulated, beside what theory gives.

    python benchmarks/gate_power.py [--repeats 2000]

Scores are 0 or 1; on a share `discordance` of the items the two differ. Every simulated comparison goes through the
statistics and the gate that the command uses. Theory is the normal approximation of the pooled difference alone,
without the rule for single tasks (where one task alone drops: of that rule alone). Ten seconds on one core; exit code
1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.check.gate import LEVEL, ONE_SIDED, PASSES, Evidence, Judgement, bounded, judge
from harness.stats import Comparison, Z

MARGIN = 0.02
REPEATS = 2000
Phi = NormalDist().cdf


@dataclass(frozen=True)
class Setting:
    """What is true of each task: candidate minus baseline, and how often the two differ."""

    difference: float = 0.0
    items: int = 500
    tasks: int = 1
    discordance: float = 0.10
    one_alone: bool = False
    # only the first of the tasks has the difference

    @property
    def error(self) -> float:
        """Of the mean over tasks; of one task where only that one drops."""
        items = self.items if self.one_alone else self.items * self.tasks
        return math.sqrt((self.discordance - self.difference**2) / items)

    def simulate(self, repeats: int, seed: int = 0) -> list[Judgement]:
        random = np.random.default_rng(seed)
        drawn = self.draw(random, self.difference, repeats)
        if self.one_alone:
            drawn[:, 1:] = self.draw(random, 0.0, repeats)[:, 1:]
        return [judge([evidence(int(b), int(w), self.items) for b, w, _ in tasks]) for tasks in drawn]

    def draw(self, random: np.random.Generator, difference: float, repeats: int) -> NDArray[np.int64]:
        """Items that only the candidate, only the baseline, both or neither got right; shape (repeats, tasks, 3)."""
        better, worse = (self.discordance + difference) / 2, (self.discordance - difference) / 2
        return random.multinomial(self.items, [better, worse, 1 - better - worse], size=(repeats, self.tasks))


@functools.cache
def compared(better: int, worse: int, items: int) -> Comparison:
    ours, theirs = np.zeros(items), np.zeros(items)
    ours[:better], theirs[better : better + worse] = 1, 1
    return bounded(stats.compare(ours.tolist(), theirs.tolist()))


def evidence(better: int, worse: int, items: int) -> Evidence:
    return Evidence(compared(better, worse, items), MARGIN)


def passes(judgement: Judgement) -> bool:
    return judgement.verdict in PASSES


def is_worse(judgement: Judgement) -> bool:
    return judgement.verdict == "worse"


def drifts(judgement: Judgement) -> bool:
    return judgement.drifted


def chance(event: Callable[[Judgement], bool], setting: Setting) -> float:
    """The theoretical probability of an event."""
    shift = setting.difference / setting.error
    reach = MARGIN / setting.error
    if event is passes:
        return Phi(shift + reach - Z)
    if event is is_worse:
        z = NormalDist().inv_cdf(1 - ONE_SIDED / setting.tasks) if setting.one_alone else Z
        return Phi(-shift - reach - z)
    return Phi(-shift + NormalDist().inv_cdf(LEVEL))


@dataclass(frozen=True)
class Claim:
    """What has to hold: an event at most, or at least, this often."""

    about: str
    event: Callable[[Judgement], bool]
    setting: Setting
    at_most: float | None = None
    at_least: float | None = None

    def simulated(self, repeats: int = REPEATS) -> float:
        return sum(map(self.event, self.setting.simulate(repeats))) / repeats

    @property
    def theory(self) -> float:
        return chance(self.event, self.setting)

    def holds(self, simulated: float) -> bool:
        return simulated <= self.at_most if self.at_most is not None else simulated >= (self.at_least or 0)


EQUAL, MARGINAL, DROP = (
    Setting(items=300, tasks=8),
    Setting(-0.02, 300, 8),
    Setting(-0.10, 300, 8, 0.14, one_alone=True),
)
CLAIMS = (
    Claim("equal, 500 items: worse", is_worse, Setting(), at_most=0.01),
    Claim("equal, 8 tasks of 300: worse", is_worse, EQUAL, at_most=0.01),
    Claim("equal, 8 tasks of 100: worse", is_worse, Setting(items=100, tasks=8), at_most=0.01),
    Claim("equal, 20 tasks of 150: worse", is_worse, Setting(items=150, tasks=20), at_most=0.01),
    Claim("2 points down (the margin), 500 items: passes", passes, Setting(-0.02), at_most=0.05),
    Claim("2 points down (the margin), 8 tasks of 300: passes", passes, MARGINAL, at_most=0.05),
    Claim("equal, 8 tasks of 300: passes", passes, EQUAL, at_least=0.80),
    Claim("4 points down, 500 items: passes", passes, Setting(-0.04), at_most=0.02),
    Claim(
        "8 points down, 12 % discordance, 500 items: worse", is_worse, Setting(-0.08, discordance=0.12), at_least=0.90
    ),
    Claim("10 points down (14 % discordance) on 1 of 8 tasks of 300: worse", is_worse, DROP, at_least=0.80),
    Claim("2 points down on each of 8 tasks of 300: drift found", drifts, MARGINAL, at_least=0.88),
    Claim("equal, 8 tasks of 300: drift found", drifts, EQUAL, at_most=0.06),
)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=REPEATS)
    repeats = arguments.parse_args().repeats
    missed = 0
    print(f"{'what':66} {'simulated':>9} {'theory':>7}  bound")
    for claim in CLAIMS:
        found = claim.simulated(repeats)
        bound = f"at most {claim.at_most:.0%}" if claim.at_most is not None else f"at least {claim.at_least:.0%}"
        missed += not claim.holds(found)
        print(f"{claim.about:66} {found:9.2%} {claim.theory:7.2%}  {bound}{'' if claim.holds(found) else '  MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
