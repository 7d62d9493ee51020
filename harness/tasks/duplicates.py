"""Near-duplicate questions, and how to drop rows that a later split repeats.

If a training row is also in test, with a word or two changed, memorising it looks like quality.
"""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

SAME = 0.8
"""Two questions with the same answer count as duplicates if `alike` is at least this."""
Row = TypeVar("Row")


def alike(first: str, second: str) -> float:
    """The share of tokens that two texts have in common in sequence (Ratcliff and Obershelp)."""
    return difflib.SequenceMatcher(None, first.lower().split(), second.lower().split(), autojunk=False).ratio()


def without_frame(texts: Sequence[str]) -> list[str]:
    """Texts without the words that all of them begin and end with, so that a shared template does not count."""
    words = [text.split() for text in texts]
    front = _shared_prefix_length(words)
    back = _shared_prefix_length([tokens[front:][::-1] for tokens in words])
    return [" ".join(tokens[front : len(tokens) - back]) or text for tokens, text in zip(words, texts, strict=True)]


def without_copies(
    splits: Mapping[str, Sequence[Row]], question: Callable[[Row], str], answer: Callable[[Row], str]
) -> dict[str, tuple[Row, ...]]:
    """Each split without the rows whose question and answer a later split repeats: test items stay, copies go."""
    numbered = [(number, row) for number, split in enumerate(splits) for row in splits[split]]
    texts = without_frame([question(row) for _, row in numbered]) if numbered else []
    questions = [text.lower().split() for text in texts]
    by_answer: dict[str, list[int]] = defaultdict(list)
    for index, (_, row) in enumerate(numbered):
        by_answer[answer(row)].append(index)
    counts = [Counter(words) for words in questions]

    def is_repeated_later(index: int) -> bool:
        split, row = numbered[index]
        return any(
            numbered[other][0] > split and _same(questions[index], questions[other], counts[index], counts[other])
            for other in by_answer[answer(row)]
        )

    kept: dict[str, list[Row]] = {split: [] for split in splits}
    names = list(splits)
    for index, (split, row) in enumerate(numbered):
        if not is_repeated_later(index):
            kept[names[split]].append(row)
    return {split: tuple(rows) for split, rows in kept.items()}


def _same(first: list[str], second: list[str], first_counts: Counter[str], second_counts: Counter[str]) -> bool:
    """Whether `alike` is at least SAME; two cheap upper bounds come first."""
    total = len(first) + len(second)
    if 2 * min(len(first), len(second)) < SAME * total or 2 * (first_counts & second_counts).total() < SAME * total:
        return False
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio() >= SAME


def _shared_prefix_length(sequences: Sequence[Sequence[str]]) -> int:
    """How many first words all sequences share."""
    first, last = min(map(list, sequences)), max(map(list, sequences))
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
