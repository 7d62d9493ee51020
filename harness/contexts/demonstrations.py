"""Few-shot demonstrations: how the rows before a question are chosen, at random or nearest in meaning."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.contexts.retrieval import Index
from harness.errors import UserError
from harness.tasks.documents import Passage
from harness.tasks.task import Example, Task

SELECTORS = ("random", "nearest")


def check_demonstrations(settings: Mapping[str, Any], pool: Sequence[Example]) -> None:
    """Refuse more demonstrations than the labelled rows can give."""
    k, selector = int(settings["k"]), settings["selector"]
    if selector not in SELECTORS:
        raise UserError(f"context.selector={selector}: known are {', '.join(SELECTORS)}.")
    if k < 1:
        raise UserError(f"context.k={k}: few-shot needs at least 1 demonstration.")
    if k + 1 > len(pool):
        raise UserError(
            f"context.k={k}: the pool of labelled training rows has {len(pool)}, and a row never sees itself, so at "
            f"most {max(0, len(pool) - 1)} can be shown. Lower context.k or raise max_train_examples."
        )


def chooser(
    settings: Mapping[str, Any], k: int, task: Task, pool: Sequence[Example], seed: int
) -> Callable[[Example], Sequence[Example]]:
    """How demonstrations are chosen: the same for all questions, or those nearest in meaning, the nearest last."""
    check_demonstrations(settings, pool)
    if settings["selector"] == "nearest":
        by_id = {example.id: example for example in pool}
        asked = [Passage(example.id, "", example.query) for example in pool]
        dense = {"retriever": "dense", "index": "exact", "embedder": settings["embedder"], "chunk": {"tokens": None}}
        index = Index.build(asked, dense)

        def nearest(example: Example) -> list[Example]:
            found = [by_id[p.id] for p in index.search(example.query, k + 1) if p.id != example.id][:k]
            return found[::-1]  # what stands next to the question weighs most (Liu et al. 2022)

        return nearest
    drawn = _drawn(pool, k + 1, seed, balanced=bool(settings["balanced"]) and task.kind == "choice")
    return lambda example: [d for d in drawn if d.id != example.id][:k]


def _drawn(pool: Sequence[Example], count: int, seed: int, *, balanced: bool) -> list[Example]:
    """A seeded draw; balanced, the labels take turns, so that no label is shown twice before each is shown once."""
    shuffled = random.Random(f"demonstrations:{seed}").sample(list(pool), len(pool))
    if not balanced:
        return shuffled[:count]
    turns: dict[str, int] = {}
    ranked = []
    for place, example in enumerate(shuffled):
        turns[example.answer] = turns.get(example.answer, 0) + 1
        ranked.append((turns[example.answer], place, example))
    return [example for _, _, example in sorted(ranked, key=lambda one: one[:2])][:count]
