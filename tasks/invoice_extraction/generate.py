"""Write the rows of invoice_extraction: the text of an invoice and the record that an accounts office makes of it.

First the facts of a document are drawn, with the traits that make it hard. Then a pattern of a template family
(layouts.yaml) prints them, in the manner of one language and currency. The record follows from the facts by policy.md.
Families and sentences are disjoint between the splits; the names of fields, currencies and legal forms are shared.

One row:

    {"id": "train-0184", "text": "Bellmoor Paints Ltd Coldmere Credit memo Number Issued C 0581 05/04/2023 Qty
     Description 1 dyed wool Net VAT Total 61.75 8.03 $69.78 See also our invoice 20/225. Our file no. 45727.",
     "invoice": {"currency": "CAD", "date": "2023-04-05", "number": "C0581", "order": null, "supplier":
     "Bellmoor Paints", "total": -69.78, "vat": -8.03}, "cluster": "squeezed_table", "template": "squeezed_table/1",
     "slice": "credit_note", "language": "en", "traits": ["credit"]}

`python tasks/invoice_extraction/generate.py` rewrites the three files of rows, always to the same bytes.
"""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

SEED = 2025
FOLDER = Path(__file__).parent
LAYOUTS: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "layouts.yaml").read_text(encoding="utf-8"))
DESIGN, SHARED = LAYOUTS["design"], LAYOUTS["shared"]
SHARE = DESIGN["share"]
SIZES = {"train": 600, "validation": 300, "test": 1000}
WORDS, MOST_PIECES = (30, 60), 108  # of a text; pieces are digits, signs and parts of words, about its tokens

SLOT = re.compile(r"\{\w+\}|\[\w+\]|<\w+>")  # {total}: a value, [total]: with its label, <total>: the label alone
TABLE = re.compile(r"<(\w+(?: \w+)+)>")
AMOUNT = re.compile(r"\d[\d.,']*[.,]\d\d(?!\d)")
MUST_SHOW = {"number", "issued", "served", "due", "vat", "exempt", "total", "order", "aside"}


@dataclass(frozen=True)
class Document:
    """The facts of one document; amounts in cents, None where it does not say."""

    traits: tuple[str, ...]
    language: str
    market: Mapping[str, Any]
    supplier: str
    form: str
    number: str | None
    order: str | None
    issued: date | None
    served: date | None
    due: date | None
    net: int
    tax: int

    def record(self) -> dict[str, Any]:
        """What the accounts office enters (policy.md)."""
        day = self.served or self.issued
        sign = -1 if "credit" in self.traits else 1
        return {
            "currency": self.market["currency"],
            "date": day.isoformat() if day else None,
            "number": self.number.upper().replace(" ", "") if self.number else None,
            "order": f"PO-{self.order}" if self.order else None,
            "supplier": house_name(self.supplier),
            "total": in_units(sign * (self.net + self.tax)),
            "vat": None if "no_vat" in self.traits else in_units(sign * self.tax),
        }


@dataclass(frozen=True)
class Style:
    """How one document prints amounts and days."""

    months: Sequence[str]
    numbers: str
    # the sign of the thousands, if any, and that of the decimals: ",." prints 1,180.50
    sign: str
    minus: str
    day: str
    whole: bool

    def bare(self, cents: int) -> str:
        units = f"{cents // 100:,}".replace(",", self.numbers[:-1])
        return self.minus.format(units if self.whole else f"{units}{self.numbers[-1]}{cents % 100:02d}")

    def money(self, cents: int) -> str:
        return self.sign.format(self.bare(cents))

    def date(self, day: date) -> str:
        month = self.months[day.month - 1]
        padded = {"dd": f"{day.day:02d}", "mm": f"{day.month:02d}", "yy": f"{day.year % 100:02d}"}
        return self.day.format(d=day.day, m=day.month, y=day.year, month=month, mon=month[:3], **padded)


def main() -> None:
    seen: set[str] = set()
    for split, size in SIZES.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(split, size, seen)]
        (FOLDER / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


def rows(split: str, size: int, seen: set[str]) -> list[dict[str, Any]]:
    """The rows of a split; no text is in `seen` yet, and each is added to it."""
    rng = random.Random(f"{SEED} {split}")
    slices = [name for name, percent in DESIGN["slice_percent"].items() for _ in range(percent * size // 100)]
    names = list(LAYOUTS[split]["families"])
    families = [names[i % len(names)] for i in range(size)]
    rng.shuffle(slices)
    rng.shuffle(families)
    planned = enumerate(zip(families, slices, strict=True), start=1)
    return [{"id": f"{split}-{i:04d}", **new_row(split, family, part, rng, seen)} for i, (family, part) in planned]


def new_row(split: str, family: str, part: str, rng: random.Random, seen: set[str]) -> dict[str, Any]:
    """Draw documents until one is new and of a fitting length."""
    layout = LAYOUTS[split]["families"][family]
    number, traits = rng.randrange(len(layout["patterns"])), draw_traits(part, rng)
    while True:
        document = draw_document(split, layout["language"], traits, rng)
        text = spoilt(compose(split, layout, number, document, rng), document, rng)
        pieces = len(re.findall(r"\d|[^\W\d_]{1,4}|[^\w\s]", text))
        if text.lower() in seen or not WORDS[0] <= len(text.split()) <= WORDS[1] or pieces > MOST_PIECES:
            continue
        seen.add(text.lower())
        made = {"cluster": family, "template": f"{family}/{number + 1}", "slice": part, "language": document.language}
        return {"text": text, "invoice": document.record(), **made, "traits": list(document.traits)}


def draw_traits(part: str, rng: random.Random) -> tuple[str, ...]:
    """What makes the row hard: one trait of its slice, or one of each of two slices."""
    slices = rng.choice(DESIGN["mixed"]) if part == "mixed" else [part]
    return tuple(rng.choice(DESIGN["traits"][one]) for one in slices if DESIGN["traits"][one])


def draw_document(split: str, language: str, traits: tuple[str, ...], rng: random.Random) -> Document:
    markets = SHARED["markets"][language]
    market = rng.choices(markets, [market["weight"] for market in markets])[0]
    numbers = SHARED["numbers"]["credit" if "credit" in traits else "invoice"]
    root, other = rng.sample(LAYOUTS[split]["roots"][language], 2)
    trade = rng.choice(SHARED["trades"][language])
    issued = date(2023, 1, 1) + timedelta(days=rng.randrange(1000))
    payable = "no_date" in traits or ("credit" not in traits and rng.random() < SHARE["due"])
    net = rng.choice([rng.randint(1800, 99999), rng.randint(90000, 480000)])
    if "whole" in traits:  # thousands without cents, of which the tax has none either
        net = rng.randrange(20, 80, 1 if market["rate"] % 10 == 0 else 10) * 10000
    return Document(
        traits=traits,
        language=language,
        market=market,
        supplier=rng.choice(SHARED["names"][language]).format(root=root, other=other, trade=trade),
        form=rng.choice(market["forms"]) if rng.random() < SHARE["legal form"] else "",
        number=None if "no_number" in traits else numbered(rng.choice(numbers), rng),
        order=str(rng.randint(40000, 49999)) if rng.random() < SHARE["order"] else None,
        issued=None if "no_date" in traits else issued,
        served=issued - timedelta(days=rng.randint(1, 25)) if "served" in traits else None,
        due=issued + timedelta(days=rng.randint(10, 45)) if payable else None,
        net=net,
        tax=0 if "exempt" in traits else (net * market["rate"] + 500) // 1000,
    )


def numbered(pattern: str, rng: random.Random) -> str:
    return "".join(rng.choice({"#": "0123456789", "@": "ABCDEFGHKMNPRSTVW"}.get(sign, sign)) for sign in pattern)


def house_name(name: str) -> str:
    """A supplier's name as the house writes it: "Mohr & Söhne" becomes "Mohr and Soehne"."""
    for printed_as, written in DESIGN["spelling"].items():
        name = name.replace(printed_as, written)
    return "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))


def in_units(cents: int) -> int | float:
    return cents // 100 if cents % 100 == 0 else cents / 100


def compose(split: str, layout: Mapping[str, Any], number: int, document: Document, rng: random.Random) -> str:
    """The document as the pattern prints it, with asides; filled up with small talk where it is short."""
    slots = {f"{{{name}}}": value for name, value in printed(document, rng).items() if value is not None}
    for name, texts in SHARED["labels"][document.language].items():
        if value := slots.get(f"{{{name}}}"):
            label = slots[f"<{name}>"] = fill(rng.choice(texts), slots)[0]
            slots[f"[{name}]"] = layout["labelled"].format(label=label, value=value)
    asides = LAYOUTS[split]["asides"][document.language]
    said = [fill(rng.choice(asides[kind]), slots)[0] for kind in draw_asides(document, rng)]
    for filler in ("", *rng.sample(asides["filler"], 3)):
        said += [filler] if filler else []
        shown = slots | ({"{aside}": layout["join"].join(said)} if said else {})
        lines = [fill(line, shown, layout["join"]) for line in layout["patterns"][number]]
        text = re.sub(r" *\n *", "\n", layout["join"].join(line for line, _ in lines if line.strip(" |,;\n"))).strip()
        if len(text.split()) >= WORDS[0]:
            break
    used = {name for _, names in lines for name in names}
    if unshown := {name for name in MUST_SHOW if f"{{{name}}}" in shown} - used:
        raise ValueError(f"{layout['patterns'][number]} leaves out {sorted(unshown)}.")
    return text


def draw_asides(document: Document, rng: random.Random) -> list[str]:
    if not document.traits:
        return []
    traits = document.traits
    needs = {"original": "credit", "ordered": "served", "stray": "", "balance": "", "bystander": "", "file": ""}
    kinds = [kind for kind, trait in needs.items() if trait in (*traits, "") and rng.random() < SHARE[kind]]
    kinds += [trait for trait in traits if trait in ("deposit", "discount", "balance", "stray") and trait not in kinds]
    return rng.sample(kinds, len(kinds))


def fill(line: str, slots: Mapping[str, str], join: str = " ") -> tuple[str, list[str]]:
    """The first alternative of a line whose values are all there, or a table of those there; and their names."""
    if table := TABLE.fullmatch(line):
        names = [name for name in table[1].split() if f"<{name}>" in slots]
        line = " ".join(f"<{name}>" for name in names) + join + " ".join(f"{{{name}}}" for name in names)
    for option in line.split(" || "):
        found = SLOT.findall(option)
        if all(slot in slots for slot in found):
            return SLOT.sub(lambda slot: slots[slot[0]], option), [slot[1:-1] for slot in found]
    return "", []


def printed(document: Document, rng: random.Random) -> dict[str, str | None]:
    """The values as the document prints them; None for those that it does not have."""
    language, market, numbers = document.language, document.market, SHARED["numbers"]
    total = document.net + document.tax
    credit, untaxed = "credit" in document.traits, {"no_vat", "exempt"} & {*document.traits}
    style = Style(
        months=SHARED["months"][language],
        numbers=rng.choice([signs for signs in market["numbers"] if len(signs) == 2 or "whole" not in document.traits]),
        sign=rng.choice(market["sign"]),
        minus=rng.choice(["-{}", "-{}", "{}-", "({})"]) if credit and rng.random() < SHARE["signed credit"] else "{}",
        day=rng.choice(SHARED["days"][language]),
        whole="whole" in document.traits,
    )
    amount = style.bare if rng.random() < SHARE["bare amounts"] else style.money
    doc = rng.choice(SHARED["documents"][language]["credit" if credit else "invoice"])
    name = document.supplier.upper() if rng.random() < SHARE["capitals"] else document.supplier
    number, paid = document.number, total * rng.randint(2, 6) // 1000 * 100
    sums = {"total": total, "paid": paid, "rest": total - paid, "reduced": total * 98 // 100}
    sums["balance"] = total * rng.randint(5, 40) // 1000 * 100
    known = document.served or document.issued or date(2024, 5, 1)
    days = {"issued": document.issued, "served": document.served, "due": document.due}
    days |= {"ordered": known - timedelta(rng.randint(5, 40)), "stray": known + timedelta(rng.randint(-40, 90))}
    return {
        "doc": doc,
        "Doc": doc[0].upper() + doc[1:],
        "short": name,
        "supplier": f"{name} {document.form}".strip(),
        "number": number.lower() if number and rng.random() < SHARE["small number"] else number,
        "order": document.order and rng.choice(["{}", "{}", "{}", "PO {}", "PO-{}", "PO{}"]).format(document.order),
        "customer": numbered(rng.choice(numbers["customer"]), rng) if rng.random() < SHARE["customer"] else None,
        "file": numbered(rng.choice(numbers["customer"]), rng),
        **{name: style.date(day) if day else None for name, day in days.items()},
        "net": None if "no_vat" in document.traits else amount(document.net),
        "vat": None if untaxed else amount(document.tax),
        "exempt": rng.choice(SHARED["exempt"][language]) if "exempt" in document.traits else None,
        "rate": f"{market['rate'] / 10:g}".replace(".", style.numbers[-1]),
        **{name: style.money(cents) for name, cents in sums.items()},
        "original": numbered(rng.choice(numbers["invoice"]), rng),
        **{name: rng.choice(SHARED[name][language]) for name in ("item", "town")},
        **{name: rng.choice(SHARED[name]) for name in ("person", "us")},
    }


def spoilt(text: str, document: Document, rng: random.Random) -> str:
    """The text as bad typing or a bad scan leaves it, where a trait says so; the supplier can still be read."""
    if "lower" in document.traits or "upper" in document.traits:
        return text.lower() if "lower" in document.traits else text.upper()
    if "ocr" not in document.traits:
        return respelt(text, document.supplier, False, rng) if "slips" in document.traits else text
    text = respelt(text, document.supplier, True, rng)
    amounts = list(AMOUNT.finditer(text))
    for found in rng.sample(amounts, min(2, len(amounts))):
        wrong = found[0].replace("0", "O", 1) if "0" in found[0] else found[0].replace("1", "l", 1)
        text = text[: found.start()] + wrong + text[found.end() :]
    return text.replace("\n", " ") if rng.random() < SHARE["lost lines"] else text


def respelt(text: str, kept: str, scanned: bool, rng: random.Random) -> str:
    """Misread or mistype four of the longer words, none of which is in `kept`."""
    words = [found for found in re.finditer(r"[^\W\d_]{5,}", text) if found[0].lower() not in kept.lower()]
    for found in sorted(rng.sample(words, min(4, len(words))), key=lambda word: word.start(), reverse=True):
        at, word = rng.randrange(1, len(found[0]) - 2), found[0]
        seen, taken_for = word[at : at + 2], word[at + 1] + word[at]
        if scanned:
            seen, taken_for = rng.choice([pair for pair in DESIGN["misreadings"] if pair[0] in word] or [("", "")])
        text = text[: found.start()] + word.replace(seen, taken_for, 1) + text[found.end() :]
    return text


if __name__ == "__main__":
    main()
