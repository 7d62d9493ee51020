"""Whether the gate calls a method worse than itself: real trainings with many seeds, compared in groups (A/A).

    python benchmarks/same_method.py [--seeds 24] [--group 3] [--results results] [OVERRIDE ...]
    python benchmarks/same_method.py model=tiny ++training.learning_rate=1e-2

Trains what `experiment=gate` trains as baseline with every seed (what is finished is skipped), then draws two groups of
seeds without a common one, many times, and lets the gate judge one against the other on all tasks. Prints how often
each verdict is given, and what `gate.item_sd` and `gate.seed_sd` should be assumed for such a method.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections import Counter

import numpy as np

from harness import stats
from harness.check.gate import judge
from harness.check.paired import Paired, pair, weigh
from harness.check.plan import Gate
from harness.check.selection import only_method, select
from harness.records import measures

DRAWS = 2000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("overrides", nargs="*")
    arguments.add_argument("--seeds", type=int, default=24)
    arguments.add_argument("--group", type=int, default=stats.FEWEST_SEEDS)
    arguments.add_argument("--results", default="results")
    arguments.add_argument("--margin", type=float, default=Gate().margin)
    chosen = arguments.parse_args()
    seeds = ",".join(map(str, range(chosen.seeds)))
    less = ["measure.latency_requests=0", "max_eval_examples=200"]
    words = ["-m", "experiment=gate", f"seed={seeds}", f"results={chosen.results}", *less, *chosen.overrides]
    subprocess.run([sys.executable, "-m", "harness", "run", *words], check=True, stdout=sys.stderr)
    named = [word for word in chosen.overrides if word.startswith("model=")]
    tasks = {}
    for task, runs in select(",".join([f"{chosen.results}/gate", *named])).items():
        cell = only_method("same_method", task, runs)
        tasks[task] = measures.metric(cell.records[0]) or "", pair(cell, cell)
    for task, (_, paired) in tasks.items():
        print(f"{task}: {described(paired.candidate, chosen.group)}")
    verdicts = Counter(verdict(list(tasks.values()), chosen.group, chosen.margin))
    said = ", ".join(f"{name} {count / DRAWS:.1%}" for name, count in verdicts.most_common())
    print(f"{DRAWS} draws of {chosen.group} seeds against {chosen.group} others, margin {chosen.margin:g}: {said}")


def described(scores: stats.Floats, group: int) -> str:
    """Mean and the two standard deviations that a plan assumes; scores: shape (seeds, items)."""
    seeds, items = scores.shape
    spread = math.sqrt(stats.seed_variance(scores) * seeds)
    random = np.random.default_rng(0)
    apart = [
        scores[order[:group]].mean(0) - scores[order[group : 2 * group]].mean(0) for order in orders(random, seeds)
    ]
    item = float(np.mean([one.std(ddof=1) for one in apart[:200]]))
    return f"{seeds} seeds, {items} items, mean {scores.mean():.3f}, item_sd {item:.3f}, seed_sd {spread:.4f}"


def orders(random: np.random.Generator, seeds: int) -> list[list[int]]:
    return [random.permutation(seeds).tolist() for _ in range(DRAWS)]


def verdict(tasks: list[tuple[str, Paired]], group: int, margin: float) -> list[str]:
    random = np.random.default_rng(1)
    drawn = zip(*(orders(random, len(paired.candidate)) for _, paired in tasks), strict=True)
    return [
        judge(
            [weigh(part(paired, order, group), metric, margin, barred=False) for (metric, paired), order in own]
        ).verdict
        for own in (list(zip(tasks, some, strict=True)) for some in drawn)
    ]


def part(paired: Paired, order: list[int], group: int) -> Paired:
    """One group of seeds against another."""
    ours, theirs = paired.candidate[order[:group]], paired.candidate[order[group : 2 * group]]
    return Paired(ours, theirs, paired.clusters, paired.asked)


if __name__ == "__main__":
    main()
