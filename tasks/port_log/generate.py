"""Write port_log: `python tasks/port_log/generate.py`.

A radio message to a port of an invented ferry company becomes an entry of its log: which ship, at what time.
phrases.yaml has the sentences; this program draws what stands in them and writes train.jsonl, validation.jsonl and
test.jsonl. The same seed writes the same bytes. A row:

    {"id": "test-0001", "message": "tern 24 reached oddey at 06.10 with 212 passengers.",
     "entry": {"ship": "Tern 24", "time": "06:10"},
     "cluster": "arrival.test/1", "template": "arrival.test/1", "slice": "arrival"}
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

SEED = 23
FOLDER = Path(__file__).resolve().parent
ROWS = {"train": 600, "validation": 300, "test": 1000}
HASTY_SHARE = 0.2  # messages in small letters

Json = dict[str, Any]


def main() -> None:
    phrases = yaml.safe_load((FOLDER / "phrases.yaml").read_text(encoding="utf-8"))
    seen: set[str] = set()
    for split in ROWS:
        write(FOLDER / f"{split}.jsonl", rows(split, phrases, seen))


def rows(split: str, phrases: Json, seen: set[str]) -> list[Json]:
    """The rows of a split in a drawn order; its sentence patterns take turns, and no message occurs twice."""
    rng = random.Random(f"{SEED} {split}")
    patterns = [(kind, number) for kind in phrases["kinds"] for number in range(1, len(kind[split]) + 1)]
    turns = itertools.islice(itertools.cycle(patterns), ROWS[split])
    made = [row(kind, number, split, phrases, seen, rng) for kind, number in turns]
    rng.shuffle(made)
    return [{"id": f"{split}-{i:04}", **one} for i, one in enumerate(made, start=1)]


def row(kind: Json, number: int, split: str, phrases: Json, seen: set[str], rng: random.Random) -> Json:
    """A message of one pattern and its entry."""
    template = f"{kind['kind']}.{split}/{number}"
    low, high = phrases["numbers"]["from"], phrases["numbers"]["to"]
    while True:
        ship = f"{rng.choice(phrases['ships'])} {rng.randint(low, high)}"
        port, hour, minute = rng.choice(phrases["ports"]), rng.randint(5, 23), rng.randrange(0, 60, 5)
        text = kind[split][number - 1].format(
            ship=ship, port=port, time=f"{hour:02}{rng.choice(':.')}{minute:02}", detail=detail(kind["detail"], rng)
        )
        message = text.lower() if rng.random() < HASTY_SHARE else text[0].upper() + text[1:]
        if message.lower() not in seen:
            seen.add(message.lower())
            entry = {"ship": ship, "time": f"{hour:02}:{minute:02}"}
            parts = {"cluster": template, "template": template, "slice": kind["kind"]}
            return {"message": message, "entry": entry, **parts}


def detail(spec: Any, rng: random.Random) -> str:
    """What a message says besides."""
    if isinstance(spec, list):
        return str(rng.choice(spec))
    return str(rng.randrange(spec["from"], spec["to"] + 1, spec["step"]))


def write(path: Path, made: Iterable[Json]) -> None:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in made), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
