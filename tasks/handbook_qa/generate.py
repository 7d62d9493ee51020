"""Write handbook_qa, handbook_qa_revised and handbook_choice: `python tasks/handbook_qa/generate.py`.

Skerrow Sound Ferries is an invented company. Its staff handbook has 350 short passages, 25 in each of fourteen topics
(ships, terminals, routes, tickets, emergencies, ...). The subjects of a topic share their rules and differ in the
values, so a passage about the wrong ship looks right. A passage gives four or five of its topic's six facts: a question
about one that it leaves out cannot be answered, though the handbook says as much of similar subjects.

The sentences are in handbook.yaml. This program draws the values, puts passages together, cuts the splits by passage
and writes corpus.jsonl, train.jsonl, validation.jsonl and test.jsonl. Then it changes about half of the facts in the
passages that only the test asks about, for handbook_qa_revised, and puts the answer of each answerable row among three
other values of the same fact, for handbook_choice. The same seed writes the same bytes. A row:

    {"id": "test-0011", "question": "By what time does music have to be off in Heron Lane 12?", "answers": ["23:15"],
     "doc_id": "hostel_heron_lane_12", "cluster": "hostel_heron_lane_12", "template": "hostel.quiet.test/1",
     "slice": "time"}
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

SEED = 20
FOLDER = Path(__file__).resolve().parent
REVISED = FOLDER.parent / "handbook_qa_revised"
CHOICE = FOLDER.parent / "handbook_choice"
CHOICES = 4
ROWS = {"train": 600, "validation": 300, "test": 1000}
UNANSWERABLE = 5  # every fifth row
ABSTAINS = "not in the handbook"
PASSAGES = (  # subjects of a topic by split, for topics by turns; nothing is asked about the spare one
    {"train": 8, "validation": 4, "test": 12, "spare": 1},
    {"train": 7, "validation": 4, "test": 13, "spare": 1},
)
TWO_MISSING = 3  # every third passage leaves out two facts, the others one
SHORTEST, LONGEST = 40, 60  # words of a passage
OPENER_SHARE, HASTY_SHARE, SLIP_SHARE = 0.12, 0.12, 0.4  # of the questions; of the words that invite a slip

Json = dict[str, Any]
Used = Counter[tuple[str, str]]  # how often a scope has used a value


@dataclass(frozen=True)
class Fact:
    slice: str
    scope: str  # facts of one scope share out their values: each fact is its own, all people have one
    candidates: Sequence[str]
    says: Sequence[str]
    questions: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Topic:
    topic: str
    title: str
    full: str
    short: Sequence[str]
    subjects: Sequence[str]
    asides: Sequence[str]
    facts: Mapping[str, Fact]


@dataclass(frozen=True)
class Entry:
    """A passage: its sentences with a slot for each fact, and the values."""

    topic: Topic
    subject: str
    split: str
    wording: str
    values: Mapping[str, str]

    def id(self) -> str:
        return f"{self.topic.topic}_{re.sub('[^a-z0-9]+', '_', self.subject.lower().replace('é', 'e'))}"

    def text(self, without: str = "") -> str:
        return self.wording.format(**{**self.values, without: ""})

    def passage(self) -> Json:
        title = self.topic.title.format(name=capital(self.subject))
        return {"id": self.id(), "title": title, "text": self.text()}


def main() -> None:
    handbook = yaml.safe_load((FOLDER / "handbook.yaml").read_text(encoding="utf-8"))
    topics = [topic_of(spec, handbook["pools"]) for spec in handbook["topics"]]
    used: Used = Counter()
    rng = random.Random(f"{SEED} corpus")
    entries = [entry for i, topic in enumerate(topics) for entry in entries_of(topic, PASSAGES[i % 2], used, rng)]
    rows = {split: questions(split, entries, handbook["voices"]) for split in ROWS}
    rng = random.Random(f"{SEED} revision")
    revised = [revise(entry, used, rng) if entry.split in ("test", "spare") else entry for entry in entries]
    now = {entry.id(): entry for entry in revised}
    for split in ROWS:
        write(FOLDER / f"{split}.jsonl", rows[split])
    write(FOLDER / "corpus.jsonl", map(Entry.passage, entries))
    write(REVISED / "test.jsonl", (revised_row(row, now[row["cluster"]]) for row in rows["test"]))
    write(REVISED / "corpus.jsonl", map(Entry.passage, revised))
    for split in ROWS:
        rng = random.Random(f"{SEED} choices {split}")
        write(CHOICE / f"{split}.jsonl", (choice_row(row, entries, rng) for row in rows[split] if row["doc_id"]))


def topic_of(spec: Json, pools: Json) -> Topic:
    facts = {name: fact_of(f"{spec['topic']}.{name}", fact, pools) for name, fact in spec["facts"].items()}
    return Topic(**{**spec, "facts": facts})


def fact_of(scope: str, spec: Json, pools: Json) -> Fact:
    source = pools[spec["values"]] if isinstance(spec["values"], str) else spec["values"]
    if isinstance(source, dict) and "unit" in source:
        texts = [*itertools.chain(*(spec[split] for split in ROWS)), *spec["says"]]
        if silent := [text for text in texts if source["unit"] not in text]:
            raise ValueError(f"handbook.yaml: {scope} does not name the unit: {silent[0]}")
    scope = "people" if source == {"people": True} else scope
    return Fact(spec["slice"], scope, candidates(source, pools), spec["says"], {split: spec[split] for split in ROWS})


def candidates(source: Any, pools: Json) -> list[str]:
    """Every value of one of the sources that the head of handbook.yaml lists."""
    match source:
        case list():
            return source
        case {"people": True}:
            return [f"{first} {last}" for first in pools["first_names"] for last in pools["surnames"]]
        case {"from": low, "to": high, "step": step}:
            return [str(number) for number in range(low, high + 1, step)]
        case {"code": pattern}:
            digits = itertools.product("0123456789", repeat=pattern.count("#"))
            return [pattern.replace("#", "{}").format(*some) for some in digits]
        case {"clock": [first, last]}:
            return [f"{minutes // 60:02}:{minutes % 60:02}" for minutes in range(first * 60, last * 60, 5)]
        case {"dates": True}:
            return [f"{day} {month}" for month in pools["months"] for day in range(1, 29)]
    raise ValueError(f"handbook.yaml: unknown source of values {source!r}")


def entries_of(topic: Topic, shares: Mapping[str, int], used: Used, rng: random.Random) -> list[Entry]:
    """The passages of a topic; each fact is left out about equally often."""
    splits = [split for split, count in shares.items() for _ in range(count)]
    missing = itertools.cycle(rng.sample(list(topic.facts), len(topic.facts)))
    entries = {}
    for place, subject in enumerate(rng.sample(topic.subjects, len(topic.subjects))):
        without = set(itertools.islice(missing, 1 if place % TWO_MISSING else 2))
        given = [fact for fact in topic.facts if fact not in without]
        entries[subject] = new_entry(topic, subject, splits[place], given, used, rng)
    return [entries[subject] for subject in topic.subjects]


def new_entry(topic: Topic, subject: str, split: str, given: Sequence[str], used: Used, rng: random.Random) -> Entry:
    """Draw values and sentences until they fit."""
    while True:
        values: dict[str, str] = {}
        for fact in given:
            values[fact] = pick(topic.facts[fact], " ".join([subject, *values.values()]), used, rng)
        entry = Entry(topic, subject, split, compose(topic, subject, given, rng), values)
        if fits(entry):
            used.update((topic.facts[fact].scope, value) for fact, value in values.items())
            return entry


def revise(entry: Entry, used: Used, rng: random.Random) -> Entry:
    """The same sentences with new values for about half of the facts; none shares a word with an old one."""
    facts, old = entry.topic.facts, " ".join(entry.values.values())
    while True:
        changed = rng.sample(list(entry.values), (len(entry.values) + rng.randrange(2)) // 2)
        new = entry
        for fact in changed:
            value = pick(facts[fact], f"{new.text(without=fact)} {old}", used, rng)
            new = replace(new, values={**new.values, fact: value})
        if fits(new):
            used.update((facts[fact].scope, new.values[fact]) for fact in changed)
            return new


def pick(fact: Fact, avoid: str, used: Used, rng: random.Random) -> str:
    """One of the values used least so far that shares no word with `avoid`."""
    shuffled = rng.sample(fact.candidates, len(fact.candidates))
    for value in sorted(shuffled, key=lambda value: used[fact.scope, value]):
        if not clash(value, avoid):
            return value
    raise ValueError(f"handbook.yaml: {fact.scope} has too few values")


def clash(value: str, text: str) -> bool:
    return value in text or bool(words(value) & words(text))


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+(?:[-:/'.]\w+)*", text.lower())) - {"a", "an", "the"}


def compose(topic: Topic, subject: str, given: Sequence[str], rng: random.Random) -> str:
    """A sentence for each fact in any order, and up to two asides; the first sentence names the subject."""
    sentences: list[str] = []
    for fact in rng.sample(given, len(given)):
        says = [text for text in topic.facts[fact].says if sentences or "{it}" in text.lower()]
        sentences.append(rng.choice(says).replace("{value}", f"{{{fact}}}"))
    for aside in rng.sample(topic.asides, rng.randrange(3)):  # another subject is named last, so that "it" stays clear
        place = len(sentences) if "{other}" in aside else rng.randrange(1, len(sentences) + 1)
        sentences.insert(place, aside)
    other = rng.choice([one for one in topic.subjects if one != subject])
    short = itertools.cycle(rng.sample(topic.short, len(topic.short)))
    names = itertools.chain([topic.full.format(name=subject)], short)
    named = [about(text, next(names)) if "{it}" in text.lower() else text for text in sentences]
    return " ".join(named).replace("{other}", topic.full.format(name=other))


def about(text: str, name: str) -> str:
    return text.replace("{it}", name).replace("{It}", capital(name))


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


def fits(entry: Entry) -> bool:
    """Whether the passage has a fitting length, and each value stands in it once and shares no word with the rest."""
    within = SHORTEST <= len(entry.text().split()) <= LONGEST
    return within and not any(clash(value, entry.text(without=fact)) for fact, value in entry.values.items())


def questions(split: str, entries: Sequence[Entry], voices: Json) -> list[Json]:
    """The rows of a split in their order; a fact of a passage is asked for once at most."""
    rng = random.Random(f"{SEED} {split}")
    asked = [(entry, fact) for entry in entries if entry.split == split for fact in entry.topic.facts]
    lost = ROWS[split] // UNANSWERABLE
    chosen = rng.sample([one for one in asked if one[1] in one[0].values], ROWS[split] - lost)
    chosen += rng.sample([one for one in asked if one[1] not in one[0].values], lost)
    rng.shuffle(chosen)
    return [{"id": f"{split}-{i:04}", **question(*one, voices, rng)} for i, one in enumerate(chosen, start=1)]


def question(entry: Entry, fact: str, voices: Json, rng: random.Random) -> Json:
    """The row that asks for a fact, in one of the split's phrasings that do not give the answer away."""
    name, spec, value = entry.topic.full.format(name=entry.subject), entry.topic.facts[fact], entry.values.get(fact)
    patterns = enumerate((about(text, name) for text in spec.questions[entry.split]), start=1)
    number, text = rng.choice([(i, text) for i, text in patterns if not (value and clash(value, text))])
    return {
        "question": voiced(text, voices["openers"][entry.split], voices["slips"], rng),
        "answers": accepted(value, spec.slice) if value else [ABSTAINS],
        "doc_id": entry.id() if value else [],
        "cluster": entry.id(),
        "template": f"{entry.topic.topic}.{fact}.{entry.split}/{number}",
        "slice": spec.slice if value else "unanswerable",
    }


def voiced(text: str, openers: Sequence[str], slips: Mapping[str, str], rng: random.Random) -> str:
    """The question as it is, after a few words, or in haste: in lower case with slips."""
    chance = rng.random()
    if chance < OPENER_SHARE:
        return f"{rng.choice(openers)} {text}"
    if chance < OPENER_SHARE + HASTY_SHARE:
        hasty = text.lower().rstrip(".?").split()
        return " ".join(slips[word] if word in slips and rng.random() < SLIP_SHARE else word for word in hasty)
    return text


def revised_row(row: Json, entry: Entry) -> Json:
    """A row with the answer of the revised passage, and the old answers where it has changed."""
    if row["slice"] == "unanswerable":
        return row
    fact = row["template"].split(".")[1]
    answers = accepted(entry.values[fact], row["slice"])
    if answers == row["answers"]:
        return row | {"slice": "unchanged"}
    return row | {"answers": answers, "slice": "changed", "outdated": row["answers"]}


def choice_row(row: Json, entries: Sequence[Entry], rng: random.Random) -> Json:
    """An answerable row with its answer among other values of the same fact, in any order."""
    topic, fact, _ = row["template"].split(".")
    others = [
        e.values[fact] for e in entries if e.topic.topic == topic and e.id() != row["cluster"] and fact in e.values
    ]
    answer = row["answers"][0]
    choices = rng.sample([answer, *rng.sample(others, CHOICES - 1)], CHOICES)
    kept = {name: row[name] for name in ("doc_id", "cluster", "template", "slice")}
    return {"id": row["id"], "question": row["question"], "answer": answer, "choices": choices, **kept}


def accepted(value: str, kind: str) -> list[str]:
    """The answer as the handbook has it, then the variants that a reader would also call right."""
    first, _, rest = value.partition(" ")
    answers = [value]
    if first in ("the", "a", "an"):
        answers.append(rest)
    if kind == "person":
        answers.append(rest)
    if kind == "date":
        answers.append(f"{rest} {first}")
    if kind == "time" and value.startswith("0"):
        answers.append(value[1:])
    return answers


def write(path: Path, rows: Iterable[Json]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
