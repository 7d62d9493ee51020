"""A task with random labels must show no winner: the whole path, on labels that nothing can predict.

    python benchmarks/random_labels.py [--items 60] [--rows 64]

Copies ticket_routing with every label drawn anew, each as likely as the others, runs methods on it, and compares every
pair of them by exact McNemar tests over the same items, with Holm's correction. A single draw of labels shows a winner
by chance one time in twenty at most. So the methods' answers, which no test label has touched, are also judged by a
thousand other draws of the test labels: exit code 1 where more than 6 % of them show a winner, or where the labels that
were there show one that chance does not make (p under 0.001, corrected). About six minutes on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scipy.stats import binomtest

from harness.paths import TASKS
from harness.records.reading import load_records
from harness.tasks.definition import load_task

METHODS = "zero_shot,few_shot,lora,full"
LEVEL = 0.05
DRAWS = 1000
MOST_WINNERS = 0.06
IMPOSSIBLE = 0.001
Right = dict[str, list[bool]]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--items", type=int, default=60)
    arguments.add_argument("--rows", type=int, default=64)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="random-labels-") as scratch:
        folder = with_random_labels(Path(scratch) / "task")
        results = Path(scratch) / "results"
        run(folder, results, chosen.rows, chosen.items)
        stored = load_records(str(results))
        answered = {s.record.method: {p.id: p.completion for p in s.predictions()} for s in stored}
        labels = {example.id: example.answer for example in load_task(folder).splits["test"]}
    return verdict(answered, labels)


def with_random_labels(folder: Path) -> Path:
    """ticket_routing with each row's label drawn from all labels: no method, and no label, is better than another."""
    shutil.copytree(TASKS / "ticket_routing", folder)
    choices = load_task(folder).splits["test"][0].choices
    for path in (folder / f"{split}.jsonl" for split in ("train", "validation", "test")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        draw = random.Random(path.name)
        changed = [{**row, "label": draw.choice(choices)} for row in rows]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in changed), encoding="utf-8")
    return folder


def run(folder: Path, results: Path, rows: int, items: int) -> None:
    words = [
        "task=folder", f"task.path={folder}", f"method={METHODS}", f"results={results}", f"max_train_examples={rows}",
        f"max_eval_examples={items}", "max_validation_examples=16", "++training.epochs=2", "measure.latency_requests=2",
        "measure.merged_items=1", "measure.retention_items=null",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "harness", "run", "-m", *words], check=True)


def verdict(answered: dict[str, dict[str, str]], labels: dict[str, str]) -> int:
    """Print every pair's test on the labels that were asked, and how many other draws show a winner; 1 for too many."""
    ids = sorted(next(iter(answered.values())))
    pairs = tested({method: [said[i] == labels[i] for i in ids] for method, said in answered.items()})
    for p, one, other, better, worse in pairs:
        print(f"{one:10} against {other:10} {better:3} to {worse:3}, p {p:.3f}")
    print("a winner on these labels" if winner(pairs) else "no winner on these labels")
    choices, found = sorted(set(labels.values())), 0
    for number in range(DRAWS):
        draw = random.Random(number)
        truth = {i: draw.choice(choices) for i in ids}
        found += winner(tested({method: [said[i] == truth[i] for i in ids] for method, said in answered.items()}))
    print(f"{found} of {DRAWS} draws of the test labels show a winner (at most {MOST_WINNERS:.0%} may)")
    leaked = pairs[0][0] * len(pairs) < IMPOSSIBLE
    print("a method knew these labels" if leaked else "no method knew these labels")
    return int(leaked or found > MOST_WINNERS * DRAWS)


def tested(right: Right) -> list[tuple[float, str, str, int, int]]:
    """Exact McNemar for every pair of methods, the smallest p first; how many items only one of the two has right."""
    pairs = []
    for one, other in itertools.combinations(sorted(right), 2):
        better = sum(a and not b for a, b in zip(right[one], right[other], strict=True))
        worse = sum(b and not a for a, b in zip(right[one], right[other], strict=True))
        p = binomtest(better, better + worse).pvalue if better + worse else 1.0
        pairs.append((float(p), one, other, better, worse))
    return sorted(pairs)


def winner(pairs: list[tuple[float, str, str, int, int]]) -> bool:
    """Whether any difference is left after Holm's correction, which the smallest p decides."""
    return pairs[0][0] * len(pairs) < LEVEL


if __name__ == "__main__":
    sys.exit(main())
