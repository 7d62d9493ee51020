"""When two questions are the same question, and rows without those that are also in a later split.

A row of training that stands in test, with a word or two changed, turns remembering into quality.
"""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

SAME = 0.8
"""Ratio of equal tokens in sequence from which two questions with one answer are called the same."""
Row = TypeVar("Row")


def alike(one: str, two: str) -> float:
    """The share of tokens that two texts have in common in sequence (Ratcliff and Obershelp)."""
    return difflib.SequenceMatcher(None, one.lower().split(), two.lower().split(), autojunk=False).ratio()


def without_frame(texts: Sequence[str]) -> list[str]:
    """Texts without the words that all of them begin and end with: what a template adds makes nothing alike."""
    words = [text.split() for text in texts]
    front = _shared(words)
    back = _shared([own[front:][::-1] for own in words])
    return [" ".join(own[front : len(own) - back]) or text for own, text in zip(words, texts, strict=True)]


def without_copies(
    splits: Mapping[str, Sequence[Row]], question: Callable[[Row], str], answer: Callable[[Row], str]
) -> dict[str, tuple[Row, ...]]:
    """Each split without the rows whose question and answer are in a later one: a test item stays, its copies go."""
    placed = [(place, row) for place, split in enumerate(splits) for row in splits[split]]
    asked = [text.lower().split() for text in without_frame([question(row) for _, row in placed])] if placed else []
    by_answer: dict[str, list[int]] = defaultdict(list)
    for number, (_, row) in enumerate(placed):
        by_answer[answer(row)].append(number)
    bags = [Counter(words) for words in asked]

    def stands_later(number: int) -> bool:
        return any(
            placed[other][0] > placed[number][0] and _same(asked[number], asked[other], bags[number], bags[other])
            for other in by_answer[answer(placed[number][1])]
        )

    kept: dict[str, list[Row]] = {split: [] for split in splits}
    names = list(splits)
    for number, (place, row) in enumerate(placed):
        if not stands_later(number):
            kept[names[place]].append(row)
    return {split: tuple(rows) for split, rows in kept.items()}


def _same(one: list[str], two: list[str], bag_one: Counter[str], bag_two: Counter[str]) -> bool:
    """`alike` of at least SAME, after two cheap upper bounds of it."""
    total = len(one) + len(two)
    if 2 * min(len(one), len(two)) < SAME * total or 2 * (bag_one & bag_two).total() < SAME * total:
        return False
    return difflib.SequenceMatcher(None, one, two, autojunk=False).ratio() >= SAME


def _shared(sequences: Sequence[Sequence[str]]) -> int:
    """How many first words all sequences share."""
    first, last = min(map(list, sequences)), max(map(list, sequences))
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
