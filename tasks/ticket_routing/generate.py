"""Write the rows of ticket_routing: support tickets of an invented company, routed by rules of its own.

Tarn & Thistle equips cafés, bakeries and canteens. It grew by buying small makers, and each desk adopted the
product of one of them, for every matter: the desk called `returns` answers everything about tills, even an
invoice. Two rules come before that: danger goes to `repairs`, and a public body's ticket
goes to `accounts` (policy.md).

A ticket is one sentence pattern of a template family (phrases.yaml). The family sets what the ticket is
about, and so which desk a stranger would pick (`looks_like`). The product in it decides the label. Around it
are distractors: another desk's product mentioned in passing, or a school next door. Families and the
sentences around them are disjoint between the splits. Products, customers and signs of danger recur in all
of them, so the rules can be learned.

One row:

    {"id": "train-0041",
     "text": "The van came on Thursday, but half of the order for the Tallo was not in it. Order 68419.",
     "label": "returns", "cluster": "missing_box", "template": "missing_box/2",
     "slice": "line", "looks_like": "delivery"}

`python tasks/ticket_routing/generate.py` rewrites train.jsonl, validation.jsonl and test.jsonl, always to the
same bytes.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SEED = 2024
FOLDER = Path(__file__).parent
PHRASES: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "phrases.yaml").read_text(encoding="utf-8"))
SIZES = {"train": 1200, "validation": 300, "test": 1000}
SHORTEST, LONGEST = 15, 45  # words of a ticket

LABEL_PERCENT = {"billing": 16, "delivery": 17, "returns": 16, "sales": 16, "accounts": 18, "repairs": 17}
SPECIAL_RULE = {"repairs": "danger", "accounts": "public"}
SPECIAL_SHARE = 0.30  # of these two desks' tickets: not decided by the product
AGREES_SHARE = 0.30  # tickets whose words happen to suggest the right desk
PASSING_SHARE = 0.15  # tickets that also mention another desk's product
CUSTOMER_SHARE = 0.35  # private customers who say what they are
NEIGHBOUR_SHARE = 0.20  # of those: who are next door to a public body
PUBLIC_DANGER_SHARE = 0.30  # dangers that a public body reports: the first rule wins
PREAMBLE_SHARE = 0.25


@dataclass(frozen=True)
class Product:
    name: str
    variant: str
    kind: str
    faults: tuple[str, str, str]
    # what "it" does wrong

    def mention(self, rng: random.Random) -> str:
        """One of the ways in which customers refer to it, without "our" or "the"; they always say what it is."""
        full, precise = f"{self.name} {self.kind}", f"{self.name} {self.variant} {self.kind}"
        return rng.choice([self.kind, self.kind, full, precise])


BRISA = Product("Brisa", "Duo", "espresso machine", ("drips", "takes an hour to heat up", "has lost all pressure"))
TALLO = Product("Tallo", "Plus", "till", ("freezes at noon", "prints blank receipts", "forgets the table numbers"))
CORVO = Product("Corvo", "Long", "cargo bike", ("slips out of gear", "squeals when braking", "pulls to the left"))
NIMBO = Product("Nimbo", "Slim", "loyalty tablet", ("forgets the stamps", "restarts by itself", "shows a grey screen"))
SORREL = Product("Sorrel", "Deck", "bread oven", ("bakes unevenly", "stops in the middle of a batch", "shows error 14"))
KELDA = Product("Kelda", "Pro", "water filter", ("drips", "runs at a trickle", "blinks red after each rinse"))

DESKS = {"billing": BRISA, "returns": TALLO, "sales": CORVO, "delivery": NIMBO, "accounts": SORREL, "repairs": KELDA}

OWNED = (
    "billing",
    "accounts",
)  # desks whose matters concern a product that is in use, and so can be dangerous

PRIVATE = ("café", "bakery", "restaurant", "pizzeria", "wine bar", "tearoom", "guesthouse", "farm shop")
PUBLIC = (
    "primary school",
    "public library",
    "district hospital",
    "town hall",
    "county court",
    "fire station",
)
TOWNS = ("Aldermoor", "Tilbrook", "Stenwick", "Harrowby", "Coldmere", "Eastley", "Fenham", "Low Marsh")
PEOPLE = ("Mina", "Tomasz", "Mrs Okoro", "Jules", "Priya", "Henrik", "Dot", "Samir", "Carla", "Mr Pym")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
SPANS = ("nine days", "two weeks", "three weeks", "almost a month", "ten days", "six weeks")
AMOUNTS = ("£84", "£129", "£215", "£48.50", "£362", "£19.90", "£540")

PLUGGED_DANGERS = (
    "gave off smoke",
    "threw sparks",
    "gave {person} an electric shock",
    "injured {person} on the hand",
)
MOVING_DANGERS = ("gave off smoke at the wheel", "threw sparks", "injured {person} on the leg")

GREETINGS = ("Dear team,", "Hello,", "Good morning,", "Dear Tarn & Thistle,")
FAREWELLS = ("Kind regards, ", "Many thanks, ", "Best wishes, ", "Thank you, ")
CHAT_OPENERS = ("hi,", "hello again,", "hey,", "morning,", "")
COMPLAINTS = ("Not good enough.", "I am getting tired of this.", "I expect an answer today.", "Honestly!")
HASTY = {
    "please": "pls",
    "would": "woud",
    "which": "wich",
    "you": "u",
    "and": "adn",
    "our": "oru",
    "with": "wiht",
    "still": "stil",
    "that": "taht",
    "have": "ahve",
}


def main() -> None:
    seen: set[str] = set()
    for split, size in SIZES.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(split, size, seen)]
        (FOLDER / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


def rows(split: str, size: int, seen: set[str]) -> list[dict[str, str]]:
    """The rows of a split; no text is in `seen` yet, and each is added to it."""
    rng = random.Random(f"{SEED} {split}")
    planned = plan(size)
    rng.shuffle(planned)
    return [
        {"id": f"{split}-{i:04d}", **new_row(split, label, rule, agrees, rng, seen)}
        for i, (label, rule, agrees) in enumerate(planned, start=1)
    ]


def plan(size: int) -> list[tuple[str, str, bool]]:
    """Label, deciding rule (danger, public or line) and "the words agree" of each row, in fixed shares."""
    planned = []
    for label, percent in LABEL_PERCENT.items():
        count = percent * size // 100
        special = round(count * SPECIAL_SHARE) if label in SPECIAL_RULE else 0
        for i in range(count):
            agrees = int((i + 1) * AGREES_SHARE) > int(i * AGREES_SHARE)
            planned.append((label, SPECIAL_RULE[label] if i < special else "line", agrees))
    return planned


def new_row(split: str, label: str, rule: str, agrees: bool, rng: random.Random, seen: set[str]) -> dict[str, str]:
    """Draw tickets until one is new and of a fitting length."""
    while True:
        row = draw(split, label, rule, agrees, rng)
        key = row["text"].lower()
        if key not in seen and SHORTEST <= len(key.split()) <= LONGEST:
            seen.add(key)
            return row


def draw(split: str, label: str, rule: str, agrees: bool, rng: random.Random) -> dict[str, str]:
    others = [desk for desk in DESKS if desk != label]
    line = label if rule == "line" else rng.choice(others)
    topic = label if agrees else rng.choice(OWNED if rule == "danger" else others)
    family, number, pattern = draw_pattern(split, topic, rng)
    passing = rng.random() < PASSING_SHARE
    text = fill(compose(split, pattern, rule, passing, rng), line, rng)
    return {
        "text": voiced(text, topic, rng),
        "label": label,
        "cluster": family,
        "template": f"{family}/{number}",
        "slice": slice_of(rule, agrees, passing),
        # a stranger, too, would give smoke to the repairs desk
        "looks_like": "repairs" if rule == "danger" else topic,
    }


def draw_pattern(split: str, topic: str, rng: random.Random) -> tuple[str, int, str]:
    families = PHRASES[split]["families"]
    family = rng.choice([name for name, content in families.items() if content["about"] == topic])
    patterns = families[family]["patterns"]
    number = rng.randrange(len(patterns))
    return family, number + 1, patterns[number]


def slice_of(rule: str, agrees: bool, passing: bool) -> str:
    """What makes the row hard: a special rule, misleading words, those and a second product, or nothing."""
    if rule != "line":
        return rule
    if agrees:
        return "plain"
    return "passing" if passing else "line"


def compose(split: str, pattern: str, rule: str, passing: bool, rng: random.Random) -> str:
    """The ticket with its slots still open: the pattern and the sentences that the rule and chance add."""
    phrases = PHRASES[split]
    parts = [pattern]
    if rule == "danger":
        parts.append(rng.choice(phrases["danger"]))
    if passing:
        parts.insert(rng.choice([0, len(parts)]), rng.choice(phrases["passing"]))
    who = draw_customer(rule, rng)
    if who:
        parts.insert(rng.choice([0, len(parts)]), rng.choice(phrases["customer"]).replace("{who}", who))
    if rng.random() < PREAMBLE_SHARE:
        parts.insert(0, rng.choice(phrases["preamble"]))
    return " ".join(parts)


def draw_customer(rule: str, rng: random.Random) -> str:
    """What the customer is, or nothing."""
    if rule == "public" or (rule == "danger" and rng.random() < PUBLIC_DANGER_SHARE):
        return rng.choice(PUBLIC)
    if rng.random() >= CUSTOMER_SHARE:
        return ""
    neighbour = f" next to the {rng.choice(PUBLIC)}" if rng.random() < NEIGHBOUR_SHARE else ""
    return rng.choice(PRIVATE) + neighbour


def fill(text: str, line: str, rng: random.Random) -> str:
    """Fill the slots: {thing} with this desk's product, {other} with another desk's."""
    product = DESKS[line]
    other = rng.choice([other for desk, other in DESKS.items() if desk != line])
    dangers = MOVING_DANGERS if product is CORVO else PLUGGED_DANGERS
    filled = text.replace("{danger}", rng.choice(dangers)).format(
        thing=product.mention(rng),
        short=product.kind,
        fault=rng.choice(product.faults),
        other=other.mention(rng),
        town=rng.choice(TOWNS),
        person=rng.choice(PEOPLE),
        day=rng.choice(DAYS),
        span=rng.choice(SPANS),
        amount=rng.choice(AMOUNTS),
        number=rng.randrange(20000, 70000),
    )
    return re.sub(r"(?<=[.?!] )[a-z]", lambda start: start[0].upper(), filled)


def voiced(text: str, topic: str, rng: random.Random) -> str:
    """The ticket as an email, a chat message, in anger (unless it wants to buy), in haste, or bare."""
    voice = rng.choice(["bare", "bare", "email", "chat", "hasty", "bare" if topic == "sales" else "cross"])
    if voice == "email":
        sender = rng.choice([name for name in PEOPLE if name not in text])
        return f"{rng.choice(GREETINGS)}\n{text}\n{rng.choice(FAREWELLS)}{sender}"
    if voice == "chat":
        return f"{rng.choice(CHAT_OPENERS)} {text}".strip().lower().removesuffix(".")
    if voice == "cross":
        return f"{text} {rng.choice(COMPLAINTS)}"
    return hurried(text, rng) if voice == "hasty" else text


def hurried(text: str, rng: random.Random) -> str:
    """Two typing errors or short forms, in words that decide nothing."""
    present = [word for word in HASTY if re.search(rf"\b{word}\b", text)]
    for word in rng.sample(present, min(2, len(present))):
        text = re.sub(rf"\b{word}\b", HASTY[word], text, count=1)
    return text


if __name__ == "__main__":
    main()
