"""A task with random labels must show no winner: the whole path, on labels that nothing can predict.

    python benchmarks/random_labels.py [--items 60] [--rows 64]

Copies ticket_routing with its labels shuffled within each split, runs methods on it, and compares every pair of them by
the paired difference over the same items. With a correction for the number of pairs (Holm) no difference may be left.
Exit code 1 where one is. About ten minutes on two cores.
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

from harness.places import TASKS
from harness.records import load_records

METHODS = "zero_shot,few_shot,lora,full"
LEVEL = 0.05


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--items", type=int, default=60)
    arguments.add_argument("--rows", type=int, default=64)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="random-labels-") as scratch:
        folder = shuffled(Path(scratch) / "task")
        results = Path(scratch) / "results"
        run(folder, results, chosen.rows, chosen.items)
        scores = {s.record.method: right(s.predictions()) for s in load_records(str(results))}
    return verdict(scores)


def shuffled(folder: Path) -> Path:
    """ticket_routing with each split's labels in another order."""
    shutil.copytree(TASKS / "ticket_routing", folder)
    for path in (folder / f"{split}.jsonl" for split in ("train", "validation", "test")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        labels = [row["label"] for row in rows]
        random.Random(path.name).shuffle(labels)
        changed = [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in changed), encoding="utf-8")
    return folder


def run(folder: Path, results: Path, rows: int, items: int) -> None:
    words = [
        "task=folder", f"task.path={folder}", f"method={METHODS}", f"results={results}", f"max_train_examples={rows}",
        f"max_eval_examples={items}", "max_validation_examples=16", "++training.epochs=2", "measure.latency_requests=2",
        "measure.merged_items=1", "measure.retention_items=null",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "harness", "run", "-m", *words], check=True)


def right(predictions: list[dict[str, object]]) -> dict[str, bool]:
    return {str(p["id"]): p["score"] == 1 for p in predictions}


def verdict(scores: dict[str, dict[str, bool]]) -> int:
    """Print every pair's exact McNemar test; 1 where one is significant after Holm's correction."""
    pairs = []
    for one, other in itertools.combinations(sorted(scores), 2):
        better = sum(scores[one][i] and not scores[other][i] for i in scores[one])
        worse = sum(scores[other][i] and not scores[one][i] for i in scores[one])
        p = binomtest(better, better + worse).pvalue if better + worse else 1.0
        pairs.append((p, one, other, better, worse))
    winners = 0
    for place, (p, one, other, better, worse) in enumerate(sorted(pairs)):
        held = p * (len(pairs) - place) < LEVEL and winners == place
        winners += held
        print(f"{one:10} against {other:10} {better:3} to {worse:3}, p {p:.3f}{'  A WINNER' if held else ''}")
    print("a winner on random labels" if winners else "no winner")
    return int(bool(winners))


if __name__ == "__main__":
    sys.exit(main())
