"""Few-shot demonstrations: how the rows before a question are chosen, at random or nearest in meaning."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from harness.contexts.context_settings import ContextSettings
from harness.contexts.retrieval import Index
from harness.errors import UserError
from harness.tasks.documents import Passage
from harness.tasks.task import Example, Task


def check_demonstrations(settings: ContextSettings, pool: Sequence[Example]) -> None:
    """Refuse more demonstrations than the labelled rows can give."""
    k = settings.shown
    if k + 1 > len(pool):
        raise UserError(
            f"context.k={k}: the pool of labelled training rows has {len(pool)}, and a row never sees itself, so at "
            f"most {max(0, len(pool) - 1)} can be shown. Lower context.k or raise max_train_examples."
        )


def chooser(
    settings: ContextSettings, k: int, task: Task, pool: Sequence[Example], seed: int
) -> Callable[[Example], Sequence[Example]]:
    """How demonstrations are chosen: the same for all questions, or those nearest in meaning, the nearest last."""
    check_demonstrations(settings, pool)
    if settings.selector == "nearest":
        by_id = {example.id: example for example in pool}
        asked = [Passage(example.id, "", example.query) for example in pool]
        index = Index.build(asked, ContextSettings("rag", embedder=settings.embedder))

        def nearest(example: Example) -> list[Example]:
            found = [by_id[p.id] for p in index.search(example.query, k + 1) if p.id != example.id][:k]
            return found[::-1]  # what stands next to the question weighs most (Liu et al. 2022)

        return nearest
    drawn = _drawn(pool, k + 1, seed, balanced=settings.balanced and task.kind == "choice")
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
