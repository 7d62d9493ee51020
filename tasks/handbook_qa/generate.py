"""Write the corpus and the questions of handbook_qa: `python tasks/handbook_qa/generate.py`.

Skerrow Sound Ferries is an invented company that runs twelve ships between the islands of an invented sound.
Its staff handbook has 160 short passages on fourteen topics (ships, terminals, routes, teams, tickets, cargo,
emergencies, ...). Subjects of one topic share their rules and differ in the values, so a passage about the
wrong ship looks right. The prose is in handbook.yaml; this program draws the values, fills in the wordings,
cuts the splits and writes corpus.jsonl, train.jsonl, validation.jsonl and test.jsonl. The same seed writes
the same bytes. A row of test.jsonl:

    {"id": "test_001", "question": "By what time does music have to be off in Heron Row 41?",
     "answers": ["22:25"], "doc_id": "hostel_heron_row_41", "cluster": "hostel_heron_row_41",
     "template": "hostel.quiet.test", "slice": "time"}
"""

import json
import random
import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
SEED = 20
ROWS = {"train": 300, "validation": 100, "test": 300}
VALIDATION_SUBJECTS = 2  # of each topic
TEST_SUBJECTS = 5  # of each topic; the other subjects are for training
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]

Json = dict[str, Any]


def main() -> None:
    handbook = yaml.safe_load((FOLDER / "handbook.yaml").read_text(encoding="utf-8"))
    rng = random.Random(SEED)
    people = all_people(handbook["pools"], rng)
    corpus: list[Json] = []
    rows: dict[str, list[Json]] = {split: [] for split in ROWS}
    for topic in handbook["topics"]:
        facts = draw_facts(topic, handbook["pools"], people, rng)
        splits = split_subjects(topic["subjects"], rng)
        wordings = spread(topic["passages"], len(topic["subjects"]), rng)
        for index, subject in enumerate(topic["subjects"]):
            passage = write_passage(topic, subject, wordings[index], facts[subject])
            corpus.append(passage)
            rows[splits[subject]] += ask(topic, subject, facts[subject], splits[subject], passage["id"])
    write(FOLDER / "corpus.jsonl", corpus)
    for split, size in ROWS.items():
        write(FOLDER / f"{split}.jsonl", numbered(rng.sample(rows[split], size), split))


def all_people(pools: Json, rng: random.Random) -> list[str]:
    """Every first name with every surname, shuffled; a person is popped and thus has one job only."""
    people = [f"{first} {last}" for first in pools["first_names"] for last in pools["surnames"]]
    rng.shuffle(people)
    return people


def draw_facts(topic: Json, pools: Json, people: list[str], rng: random.Random) -> dict[str, dict[str, str]]:
    """Subject -> fact -> value; two subjects of a topic never share a value of the same fact."""
    subjects = topic["subjects"]
    columns = {
        fact: draw_values(spec["values"], len(subjects), pools, people, rng) for fact, spec in topic["facts"].items()
    }
    return {
        subject: {fact: column[index] for fact, column in columns.items()} for index, subject in enumerate(subjects)
    }


def draw_values(source: Any, count: int, pools: Json, people: list[str], rng: random.Random) -> list[str]:
    """`count` different values from one of the sources that the head of handbook.yaml lists."""
    match source:
        case str():
            return rng.sample(pools[source], count)
        case list():
            return rng.sample(source, count)
        case {"people": True}:
            return [people.pop() for _ in range(count)]
        case {"from": low, "to": high, "step": step, "unit": unit}:
            return [f"{number} {unit}" for number in rng.sample(range(low, high + 1, step), count)]
        case {"code": pattern}:
            width = pattern.count("#")
            return [fill(pattern, f"{digits:0{width}}") for digits in rng.sample(range(10**width), count)]
        case {"clock": [first, last]}:
            times = rng.sample(range(first * 60, last * 60, 5), count)
            return [f"{minutes // 60:02}:{minutes % 60:02}" for minutes in times]
        case {"dates": True}:
            return [f"{day} {rng.choice(MONTHS)}" for day in rng.sample(range(1, 29), count)]
    raise ValueError(f"handbook.yaml: unknown source of values {source!r}")


def fill(pattern: str, digits: str) -> str:
    """("K-2##", "07") -> "K-207"."""
    remaining = iter(digits)
    return re.sub("#", lambda _: next(remaining), pattern)


def split_subjects(subjects: list[str], rng: random.Random) -> dict[str, str]:
    """Subject -> split: each topic is in all three, each passage in one."""
    order = rng.sample(subjects, len(subjects))
    last = VALIDATION_SUBJECTS + TEST_SUBJECTS
    members = {
        "validation": order[:VALIDATION_SUBJECTS],
        "test": order[VALIDATION_SUBJECTS:last],
        "train": order[last:],
    }
    return {subject: split for split, chosen in members.items() for subject in chosen}


def spread(wordings: list[str], count: int, rng: random.Random) -> list[str]:
    """`count` wordings in random order, each used about equally often."""
    repeated = [wordings[i % len(wordings)] for i in range(count)]
    return rng.sample(repeated, count)


def write_passage(topic: Json, subject: str, wording: str, facts: dict[str, str]) -> Json:
    name = subject[0].upper() + subject[1:]
    slug = re.sub("[^a-z0-9]+", "_", subject.lower().replace("é", "e"))
    return {
        "id": f"{topic['topic']}_{slug}",
        "title": topic["title"].format(name=name),
        "text": wording.format(name=subject, **facts),
    }


def ask(topic: Json, subject: str, facts: dict[str, str], split: str, doc_id: str) -> list[Json]:
    """One row for each fact of the passage, in the split's own phrasing."""
    rows = []
    for fact, spec in topic["facts"].items():
        question = spec[split].format(name=subject)
        rows.append(
            {
                "question": question,
                "answers": accepted(facts[fact], spec["slice"], question),
                "doc_id": doc_id,
                "cluster": doc_id,
                "template": f"{topic['topic']}.{fact}.{split}",
                "slice": spec["slice"],
            }
        )
    return rows


def accepted(value: str, kind: str, question: str) -> list[str]:
    """The answer as the handbook has it, then the variants that a reader would also call right."""
    answers = [value]
    if article := re.match("(the|a|an) ", value):
        answers.append(value.removeprefix(article[0]))
    if kind == "person":
        answers.append(value.split()[-1])
    if kind == "time" and value.startswith("0"):
        answers.append(value[1:])
    amount = re.fullmatch(r"(\d+) ([a-z].*)", value)
    if amount and amount[2] in question:  # a bare number is complete only where the question names the unit
        answers.append(amount[1])
    return answers


def numbered(rows: list[Json], split: str) -> list[Json]:
    return [{"id": f"{split}_{index:03}", **row} for index, row in enumerate(rows)]


def write(path: Path, rows: list[Json]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
