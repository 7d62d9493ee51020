"""Write the rows of house_style: customers' messages to an invented shop, with replies that keep its rules.

Tamsel & Rook sends goods for walkers by post. A reply greets by first name, repeats the order number, says sorry
only where the house went wrong, adds a notice where the topic demands one, and closes with the name of a desk. Three
kinds of request are declined with one fixed sentence (policy.md; rules.yaml is the same for a program).

A message is one sentence pattern of a template family (phrases.yaml) with a product, an order number, a name, a
preamble and a voice around it. The family sets the topic, whether the request is declined, and whether the house is
at fault; desk and notice follow from the topic. The reply is put together from the house's own sentences and freely
worded ones. Families, names and freely worded sentences are disjoint between the splits.

One row:

    {"id": "train-0594",
     "message": "Order 46617. The twin burner was charged twice, £49 each time. Kind regards, Oskar Pell",
     "reply": "Hello Oskar, we are sorry about order 46617. The bill for your twin burner is not right, and we will put
               it in order. Never light a gas flame inside a tent. Warmly, the Flame Desk",
     "topic": "gas", "refuse": false, "name": "Oskar", "order": "46617", "product": "twin burner", "fault": true,
     "notice": "Never light a gas flame inside a tent.", "desk": "Flame",
     "cluster": "gas_paid_twice", "template": "gas_paid_twice/1", "slice": "disclaimer"}

`python tasks/house_style/generate.py` rewrites train.jsonl, validation.jsonl and test.jsonl, always to the same bytes.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SEED = 2025
FOLDER = Path(__file__).parent
PHRASES: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "phrases.yaml").read_text(encoding="utf-8"))
HOUSE, GOODS, SHARED = PHRASES["house"], PHRASES["goods"], PHRASES["shared"]
SIZES = {"train": 600, "validation": 300, "test": 1000}
SLICE_PERCENT = {"ordinary": 30, "disclaimer": 26, "must_refuse": 24, "near_miss": 20}
MESSAGE_WORDS = (7, 55)
REPLY_WORDS = (20, 36)  # the house allows 40

NAME_SHARE = 0.88
SURNAME_SHARE = 0.5
ORDER_SHARE = {"this": 0.85, "past": 0.65}
PREAMBLE_SHARE = 0.2
URGENT_SHARE = 0.25  # messages that ask for a date, which no reply may give
EXTRA_SHARE = 0.35
SOFTEN_SHARE = 0.7
VOICES = ("bare", "bare", "email", "email", "chat", "loud", "hasty")

Row = dict[str, str | bool]


@dataclass(frozen=True)
class Family:
    name: str
    slice: str
    topic: str
    messages: tuple[str, ...]
    replies: tuple[str, ...] = ()
    fault: bool = False
    goods: tuple[str, ...] = ()
    order: str = "this"

    @property
    def refuse(self) -> bool:
        return self.slice == "must_refuse"


@dataclass(frozen=True)
class Product:
    name: str
    article: str
    group: str

    def words(self) -> dict[str, str]:
        """The slots that agree with it."""
        plural = self.article == "plural"
        verbs = ("are", "have", "do", "were") if plural else ("is", "has", "does", "was")
        return {
            "p": self.name,
            "a": self.name if plural else f"{self.article} {self.name}",
            "it": "they" if plural else "it",
            "them": "them" if plural else "it",
            **dict(zip(("is", "has", "does", "was"), verbs, strict=True)),
        }


@dataclass(frozen=True)
class Writer:
    """Who writes: `first` is empty where the message gives no name; `me` may carry a surname."""

    first: str
    me: str


PRODUCTS = {name: Product(name, article, group) for group in GOODS for name, article in GOODS[group].items()}


def main() -> None:
    seen: set[str] = set()
    for split, size in SIZES.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(split, size, seen)]
        (FOLDER / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


def rows(split: str, size: int, seen: set[str]) -> list[Row]:
    """The rows of a split; no message and no reply is in `seen` yet, and each is added to it."""
    rng = random.Random(f"{SEED} {split}")
    planned = plan(split, size)
    rng.shuffle(planned)
    drawn = (new_row(split, family, number, rng, seen) for family, number in planned)
    return [{"id": f"{split}-{i:04d}", **row} for i, row in enumerate(drawn, start=1)]


def plan(split: str, size: int) -> list[tuple[Family, int]]:
    """Family and sentence pattern of each row: fixed shares of the slices, families and patterns in turn."""
    families = [read_family(name, content) for name, content in PHRASES[split]["families"].items()]
    planned: list[tuple[Family, int]] = []
    for part, percent in SLICE_PERCENT.items():
        members = [family for family in families if family.slice == part]
        for i in range(percent * size // 100):
            turn, place = divmod(i, len(members))
            planned.append((members[place], turn % len(members[place].messages)))
    return planned


def read_family(name: str, content: dict[str, Any]) -> Family:
    lists = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
    return Family(name=name, **{**content, **lists})


def new_row(split: str, family: Family, number: int, rng: random.Random, seen: set[str]) -> Row:
    """Draw until message and reply are new and of a fitting length."""
    while True:
        row = draw(split, family, number, rng)
        message, reply = str(row["message"]).lower(), str(row["reply"]).lower()
        fits = within(message, MESSAGE_WORDS) and within(reply, REPLY_WORDS)
        if fits and message not in seen and reply not in seen:
            seen.update((message, reply))
            return row


def within(text: str, limits: tuple[int, int]) -> bool:
    return limits[0] <= len(text.split()) <= limits[1]


def draw(split: str, family: Family, number: int, rng: random.Random) -> Row:
    phrases = PHRASES[split]
    product = draw_product(family, rng)
    writer = draw_writer(phrases, rng)
    order = str(rng.randrange(10000, 100000)) if rng.random() < ORDER_SHARE[family.order] else ""
    slots = draw_slots(phrases, product, order, writer, rng)
    message = compose(family, family.messages[number], bool(order), phrases, rng)
    return {
        "message": voiced(capitalised(message.format(**slots)), family, writer, phrases, slots, rng),
        "reply": write_reply(family, writer, bool(order), phrases, rng).format(**slots),
        "topic": family.topic,
        "refuse": family.refuse,
        "name": writer.first,
        "order": order,
        "product": product.name if product else "",
        "fault": family.fault,
        "notice": HOUSE["notices"].get(family.topic, ""),
        "desk": HOUSE["desks"][family.topic],
        "cluster": family.name,
        "template": f"{family.name}/{number + 1}",
        "slice": family.slice,
    }


def draw_product(family: Family, rng: random.Random) -> Product | None:
    """One of the family's goods, which are groups or single products; None where it is about no product."""
    names = [name for entry in family.goods for name in GOODS.get(entry, [entry])]
    return PRODUCTS[rng.choice(names)] if names else None


def draw_writer(phrases: dict[str, Any], rng: random.Random) -> Writer:
    if rng.random() >= NAME_SHARE:
        return Writer("", "")
    first = rng.choice(phrases["names"])
    return Writer(first, f"{first} {rng.choice(SHARED['surname'])}" if rng.random() < SURNAME_SHARE else first)


def draw_slots(
    phrases: dict[str, Any], product: Product | None, order: str, writer: Writer, rng: random.Random
) -> dict[str, str]:
    kind = product.group if product and product.group in ("gas", "food") else "goods"
    drawn = {name: rng.choice(SHARED[name]) for name in ("town", "day", "span", "amount")}
    return {
        **drawn,
        "other": f"{rng.choice(phrases['other'])} {rng.choice(SHARED['surname'])}",
        "rival": rng.choice(phrases["rival"]),
        "flaw": rng.choice(phrases["flaws"][kind]),
        "order": order,
        "me": writer.me,
        **(product.words() if product else {}),
    }


def compose(family: Family, pattern: str, with_order: bool, phrases: dict[str, Any], rng: random.Random) -> str:
    """The message with its slots still open: the pattern and what stands around it."""
    parts = [pattern]
    if with_order:
        parts.insert(rng.choice([0, 1, 1]), rng.choice(phrases[family.order]))
    if rng.random() < PREAMBLE_SHARE:
        parts.insert(0, rng.choice(phrases["preamble"]))
    if rng.random() < URGENT_SHARE:
        parts.append(rng.choice(phrases["urgent"]))
    return " ".join(parts)


def capitalised(text: str) -> str:
    return re.sub(r"(?:^|(?<=[.?!] ))[a-z]", lambda start: start[0].upper(), text)


def voiced(
    text: str, family: Family, writer: Writer, phrases: dict[str, Any], slots: dict[str, str], rng: random.Random
) -> str:
    """The message with its writer's name: bare, as an email, as chat in lower case, loud, or in haste."""
    voice = rng.choice(VOICES)
    if voice == "hasty":
        text = hurried(text, rng)
    if voice == "loud":
        text = f"{text} {rng.choice(phrases['cross' if family.fault else 'cheer'])}".format(**slots)
    break_line = "\n" if voice == "email" else " "
    if writer.me and rng.random() < 0.4:
        text = f"{rng.choice(phrases['intro'])} {text}".format(**slots)
    elif writer.me:
        text = f"{text}{break_line}{rng.choice(phrases['farewell'])}".format(**slots)
    if voice == "email":
        text = f"{rng.choice(phrases['greeting'])}\n{text}"
    return text.lower().removesuffix(".") if voice == "chat" else text


def hurried(text: str, rng: random.Random) -> str:
    """Two typing errors or short forms, in words that decide nothing."""
    typos: dict[str, str] = SHARED["typos"]
    present = [word for word in typos if re.search(rf"\b{word}\b", text)]
    for word in rng.sample(present, min(2, len(present))):
        text = re.sub(rf"\b{word}\b", typos[word], text, count=1)
    return text


def write_reply(family: Family, writer: Writer, with_order: bool, phrases: dict[str, Any], rng: random.Random) -> str:
    """A reply that keeps all rules, its slots still open."""
    opening = rng.choice(phrases["sorry" if family.fault else "thanks"]["order" if with_order else "bare"])
    if family.refuse:
        middle = [HOUSE["decline"]]
        added = [rng.choice(phrases["soften"])] if rng.random() < SOFTEN_SHARE else []
    else:
        middle = [rng.choice(family.replies)]
        added = [notice] if (notice := HOUSE["notices"].get(family.topic)) else []
        added += [rng.choice(phrases["extra"])] if rng.random() < EXTRA_SHARE else []
        rng.shuffle(added)
    greeting = f"Hello {writer.first}," if writer.first else "Hello,"
    closing = f"Warmly, the {HOUSE['desks'][family.topic]} Desk"
    return " ".join([greeting, opening, *middle, *added, closing])


if __name__ == "__main__":
    main()
