"""Few-shot demonstrations: chosen at random, or by similarity to the question."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from harness.contexts.context_settings import ContextSettings
from harness.contexts.retrieval import Index
from harness.errors import UserError
from harness.tasks.documents import Passage
from harness.tasks.task import Example, Task


def check_demonstrations(settings: ContextSettings, pool: Sequence[Example]) -> None:
    """UserError if the pool has too few labelled rows for k demonstrations."""
    k = settings.required_k
    if k + 1 > len(pool):
        raise UserError(
            f"context.k={k}: the pool has {len(pool)} labelled training rows and a row never sees itself, so k can be "
            f"at most {max(0, len(pool) - 1)}. Lower context.k or raise max_train_examples."
        )


def chooser(
    settings: ContextSettings, k: int, task: Task, pool: Sequence[Example], seed: int
) -> Callable[[Example], Sequence[Example]]:
    """A function from a question to its demonstrations: the same for all questions, or the most similar, best last."""
    check_demonstrations(settings, pool)
    if settings.selector == "nearest":
        by_id = {example.id: example for example in pool}
        questions = [Passage(example.id, "", example.query) for example in pool]
        index = Index.build(questions, ContextSettings("rag", embedder=settings.embedder))

        def nearest(example: Example) -> list[Example]:
            best_first = [by_id[p.id] for p in index.search(example.query, k + 1) if p.id != example.id][:k]
            return best_first[::-1]  # the demonstration next to the question has the most influence (Liu et al. 2022)

        return nearest
    drawn = _drawn(pool, k + 1, seed, balanced=settings.balanced and task.kind == "choice")
    return lambda example: [d for d in drawn if d.id != example.id][:k]


def _drawn(pool: Sequence[Example], count: int, seed: int, *, balanced: bool) -> list[Example]:
    """A seeded sample; if balanced, labels alternate, so that no label comes twice before each has come once."""
    shuffled = random.Random(f"demonstrations:{seed}").sample(list(pool), len(pool))
    if not balanced:
        return shuffled[:count]
    per_label: dict[str, int] = {}
    ranked = []
    for position, example in enumerate(shuffled):
        per_label[example.answer] = per_label.get(example.answer, 0) + 1
        ranked.append((per_label[example.answer], position, example))
    return [example for _, _, example in sorted(ranked, key=lambda row: row[:2])][:count]
