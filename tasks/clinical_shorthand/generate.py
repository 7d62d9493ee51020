"""Write the rows of clinical_shorthand: ward notes of an invented hospital, and the same notes without abbreviations.

A note is one sentence pattern of a template family (phrases.yaml), for half of the rows with a phrase beside it
that holds an ambiguous abbreviation in its context, or one that only Marrow Hill hospital uses. The patterns mark
the abbreviations, so the expansion is known: each has one (glossary.yaml), ambiguous ones one for each sense.
Families and phrases are disjoint between the splits; the abbreviations are shared, save those that a row of
slice `unseen` has and no row of train.

One row:

    {"id": "train-0013",
     "note": "shuffling gait, PD; FWB on L leg, stairs tried once",
     "expanded": "shuffling gait, Parkinson's disease; full weight bearing on left leg, stairs tried once",
     "cluster": "joint_check", "template": "joint_check/4", "slice": "ambiguous",
     "abbreviations": [["PD", "Parkinson's disease"], ["FWB", "full weight bearing"], ["L", "left"]]}

`python tasks/clinical_shorthand/generate.py` rewrites train.jsonl, validation.jsonl and test.jsonl, always to the
same bytes.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

SEED = 4107
FOLDER = Path(__file__).parent
GLOSSARY: dict[str, Any] = yaml.safe_load((FOLDER / "glossary.yaml").read_text(encoding="utf-8"))
PHRASES: dict[str, Any] = yaml.safe_load((FOLDER / "phrases.yaml").read_text(encoding="utf-8"))
WORDS: dict[str, list[str]] = PHRASES["shared"]["words"]
READINGS: dict[str, list[str]] = PHRASES["shared"]["readings"]
SLIPS: dict[str, str] = PHRASES["shared"]["slips"]

SIZES = {"train": 600, "validation": 300, "test": 1000}
SLICE_PERCENT = {
    "train": {"seen": 35, "ambiguous": 35, "house": 30},
    "validation": {"seen": 25, "ambiguous": 25, "house": 20, "unseen": 30},
    "test": {"seen": 25, "ambiguous": 25, "house": 20, "unseen": 30},
}
NEW_IN = {"train": (), "validation": ("unseen",), "test": ("unseen", "test_only")}  # parts of the glossary
SHORTEST, LONGEST = 6, 18  # words of a note
FEWEST, MOST = 2, 4  # abbreviations of a note

ASIDE_SHARE = 0.30
SECOND_SHARE = 0.40  # of the seen and unseen rows: two patterns of their family, as the other rows have two parts
TIDY_SHARE = 0.50  # sentences with capitals and full stops; the others in small letters
SLIP_SHARE = 0.15
LOWER_SHARE = 0.40  # of the abbreviations that hurried people write in small letters, too
TIDY_JOINERS = (". ", ". ", "; ", ", ")
HURRIED_JOINERS = (", ", ", ", " - ", "; ")

SLOT = re.compile(r"\{(\w+)\}")  # {chronic}
MARK = re.compile(r"\[([^]|]+)(?:\|([^]]+))?\]")  # [HTN], or with its sense [RA|room air]


@dataclass(frozen=True)
class Wanted:
    """What a row has to contain: an abbreviation, by its kind or by its sense; nothing in a `seen` row."""

    slice: str
    short: str = ""
    kind: str = ""
    sense: str = ""


@dataclass(frozen=True)
class Pattern:
    family: str
    number: int
    text: str


@dataclass(frozen=True)
class Piece:
    """A stretch of a note as it is written and as it is expanded; `entry` is its abbreviation, empty in plain text."""

    written: str
    expanded: str
    entry: str = ""
    meaning: str = ""


def entries(part: str) -> dict[str, dict[str, str]]:
    """Kind, abbreviation and expansion of a part of the glossary: seen, unseen or test_only."""
    return {kind: parts.get(part, {}) for kind, parts in GLOSSARY["kinds"].items()}


SEEN = entries("seen")
FULL = {
    short: full
    for part in (SEEN, entries("unseen"), entries("test_only"), GLOSSARY["house"])
    for kind in part.values()
    for short, full in kind.items()
}


def main() -> None:
    taken: set[str] = set()
    for split, size in SIZES.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(split, size, taken)]
        (FOLDER / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


def rows(split: str, size: int, taken: set[str]) -> list[dict[str, Any]]:
    """The rows of a split; no text of theirs is in `taken` yet, and each is added to it."""
    rng = random.Random(f"{SEED} {split}")
    planned = plan(split, size)
    rng.shuffle(planned)
    return [
        {"id": f"{split}-{i:04d}", **new_row(split, wanted, rng, taken)} for i, wanted in enumerate(planned, start=1)
    ]


def plan(split: str, size: int) -> list[Wanted]:
    """What each row has to contain: slices in fixed shares, within a slice each abbreviation or sense alike."""
    planned = []
    for name, percent in SLICE_PERCENT[split].items():
        choices = wanted_of(split, name)
        planned += [choices[i % len(choices)] for i in range(percent * size // 100)]
    return planned


def wanted_of(split: str, name: str) -> list[Wanted]:
    """All that a row of this slice can be asked to contain."""
    if name == "ambiguous":
        return [Wanted(name, short, sense=sense) for short, all_of in GLOSSARY["ambiguous"].items() for sense in all_of]
    parts = {"unseen": [entries(part) for part in NEW_IN[split]], "house": [GLOSSARY["house"]], "seen": []}[name]
    found = [Wanted(name, short, kind) for part in parts for kind, fulls in part.items() for short in fulls]
    return found or [Wanted(name)]


def new_row(split: str, wanted: Wanted, rng: random.Random, taken: set[str]) -> dict[str, Any]:
    """Draw notes until one is new and of a fitting size."""
    while True:
        pattern = draw_pattern(split, wanted, rng)
        pieces = voiced(compose(split, pattern, wanted, rng), rng)
        note, expanded = ("".join(piece.written for piece in pieces), "".join(piece.expanded for piece in pieces))
        found = [[piece.entry, piece.meaning] for piece in pieces if piece.entry]
        key = re.sub(r"\W", "", expanded.lower())  # two notes that differ in punctuation alone are one
        if key not in taken and SHORTEST <= len(note.split()) <= LONGEST and FEWEST <= len(found) <= MOST:
            taken.add(key)
            return {
                "note": note,
                "expanded": expanded,
                "cluster": pattern.family,
                "template": f"{pattern.family}/{pattern.number}",
                "slice": wanted.slice,
                "abbreviations": found,
            }


def draw_pattern(split: str, wanted: Wanted, rng: random.Random) -> Pattern:
    """A pattern of a family; for an unseen abbreviation one that has a slot of its kind."""
    slot = f"{{{wanted.kind}}}" if wanted.slice == "unseen" else ""
    return rng.choice(
        [
            Pattern(family, number, text)
            for family, texts in PHRASES[split]["families"].items()
            for number, text in enumerate(texts, start=1)
            if slot in text
        ]
    )


def compose(split: str, pattern: Pattern, wanted: Wanted, rng: random.Random) -> list[str]:
    """The parts of a note with slots still open, in any order: the pattern, the wanted phrase, by chance an aside."""
    phrases = PHRASES[split]
    parts = [pattern.text]
    if wanted.slice == "unseen":
        parts = [with_entry(pattern.text, wanted, rng)]
    elif wanted.slice == "house":
        parts.append(with_entry(rng.choice(phrases["house"][wanted.kind]), wanted, rng))
    elif wanted.slice == "ambiguous":
        context = rng.choice(phrases["contexts"][wanted.short][wanted.sense])
        parts.append(context.replace(f"[{wanted.short}]", f"[{wanted.short}|{wanted.sense}]"))
    if wanted.slice in ("seen", "unseen") and rng.random() < SECOND_SHARE:
        parts += second_pattern(split, pattern, rng)
    if rng.random() < ASIDE_SHARE:
        parts.append(rng.choice(phrases["asides"]))
    rng.shuffle(parts)
    return parts


def second_pattern(split: str, pattern: Pattern, rng: random.Random) -> list[str]:
    """Another pattern of the family, of other kinds of abbreviations, if there is one."""
    kinds = {*SLOT.findall(pattern.text)} & {*SEEN}
    family = PHRASES[split]["families"][pattern.family]
    fitting = [text for text in family if text != pattern.text and kinds.isdisjoint(SLOT.findall(text))]
    return [rng.choice(fitting)] if fitting else []


def with_entry(phrase: str, wanted: Wanted, rng: random.Random) -> str:
    """The phrase with the wanted abbreviation in one of the slots of its kind."""
    slot = rng.choice([slot for slot in SLOT.finditer(phrase) if slot[1] == wanted.kind])
    return phrase[: slot.start()] + marked(wanted.short, rng) + phrase[slot.end() :]


def marked(short: str, rng: random.Random) -> str:
    """[OA], or [BP] with a reading."""
    return f"[{short}] {rng.choice(READINGS[short])}" if short in READINGS else f"[{short}]"


def voiced(parts: list[str], rng: random.Random) -> list[Piece]:
    """The note in pieces: tidy or in small letters, some with a typing slip, which the expansion keeps."""
    tidy = rng.random() < TIDY_SHARE
    text = settled(rng.choice(TIDY_JOINERS if tidy else HURRIED_JOINERS).join(parts), rng)
    pieces = pieces_of(text + ("." if tidy else ""))
    pieces = capitalised(pieces) if tidy else hurried(pieces, rng)
    return slipped(pieces, rng) if rng.random() < SLIP_SHARE else pieces


def settled(text: str, rng: random.Random) -> str:
    """The text with its slots filled: {site} becomes knee, {chronic} becomes [HTN]; nothing twice."""
    used = [mark[1] for mark in MARK.finditer(text)]

    def fill(slot: re.Match[str]) -> str:
        kind = slot[1]
        if kind == "span":
            return span(rng)
        choice = rng.choice([option for option in WORDS.get(kind) or SEEN[kind] if option not in used])
        used.append(choice)
        return choice if kind in WORDS else marked(choice, rng)

    return SLOT.sub(fill, text)


def span(rng: random.Random) -> str:
    """[3/7|3 days], and so for weeks and months."""
    number, (base, unit) = rng.randrange(2, 7), rng.choice(list(GLOSSARY["spans"].items()))
    return f"[{number}/{base}|{number} {unit}]"


def pieces_of(text: str) -> list[Piece]:
    """Plain text and abbreviations in turn."""
    pieces, end = [], 0
    for mark in MARK.finditer(text):
        full = mark[2] or FULL[mark[1]]
        pieces += [plain(text[end : mark.start()]), Piece(mark[1], full, mark[1], full)]
        end = mark.end()
    return [*pieces, plain(text[end:])]


def plain(text: str) -> Piece:
    return Piece(text, text)


def capitalised(pieces: list[Piece]) -> list[Piece]:
    """A capital letter at the start of each sentence, in the note and in its expansion."""
    done, starts = [], True
    for piece in pieces:
        if not piece.entry:
            piece = plain(re.sub(r"(?<=[.?] )[a-z]", lambda letter: letter[0].upper(), piece.written))
        if starts:
            piece = replace(piece, written=capital(piece.written), expanded=capital(piece.expanded))
        starts = piece.written.rstrip().endswith((".", "?")) if piece.written else starts
        done.append(piece)
    return done


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def hurried(pieces: list[Piece], rng: random.Random) -> list[Piece]:
    """Plain text in small letters, and some of the abbreviations that can be."""
    small = [piece if piece.entry else plain(piece.written.lower()) for piece in pieces]
    return [replace(piece, written=piece.written.lower()) if lowers(piece, rng) else piece for piece in small]


def lowers(piece: Piece, rng: random.Random) -> bool:
    return piece.entry in GLOSSARY["lower_too"] and rng.random() < LOWER_SHARE


def slipped(pieces: list[Piece], rng: random.Random) -> list[Piece]:
    """A typing slip in one plain word, if there is one that people get wrong."""
    spots = [
        (i, word)
        for i, piece in enumerate(pieces)
        if not piece.entry
        for word in SLIPS
        if re.search(rf"\b{word}\b", piece.written)
    ]
    if not spots:
        return pieces
    where, word = rng.choice(spots)
    wrong = plain(re.sub(rf"\b{word}\b", SLIPS[word], pieces[where].written, count=1))
    return [*pieces[:where], wrong, *pieces[where + 1 :]]


if __name__ == "__main__":
    main()
