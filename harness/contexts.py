"""A Context: what goes into the prompt. Bound to a task it has one method, `render(example) -> messages`.

    context = bind({"name": "few_shot", "k": 4}, task, pool, seed=0)
    context.render(example)      # [{"role": "user", "content": ...}, {"role": "assistant", ...}, ...]

Training and evaluation call the same `render`. It never shows an example its own answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import NotApplicable, UserError
from harness.retrieval import Index
from harness.tasks import Example, Passage, Task

Messages = list[dict[str, str]]
KNOBS: dict[str, tuple[str, ...]] = {
    "zero_shot": (),
    "instructed": (),
    "few_shot": ("k",),
    "rag": ("k", "embedder"),
    "oracle": (),
}
"""Every context and the settings that it uses; others may be set in a sweep over several and change nothing."""


@dataclass(frozen=True)
class Context:
    """Instructions, demonstrations and passages around a question; each of them may be absent."""

    name: str
    instructions: str = ""
    demonstrations: tuple[Example, ...] = ()
    # one more than is shown, so that a row that is itself among them still sees k others
    shots: int = 0
    find: Callable[[Example], Sequence[Passage]] | None = None
    index: Index | None = None
    k: int = 0
    # passages for a question, where they are retrieved
    _found: dict[str, tuple[Passage, ...]] = field(default_factory=dict, repr=False)

    def render(self, example: Example) -> Messages:
        """The chat turns that ask for an example's answer."""
        messages: Messages = []
        for shown in [d for d in self.demonstrations if d.id != example.id][: self.shots]:
            messages += [_user(shown.prompt), {"role": "assistant", "content": shown.answer}]
        parts = [self.instructions, _as_text(self.passages(example)), example.prompt]
        return [*messages, _user("\n\n".join(part for part in parts if part))]

    def passages(self, example: Example) -> tuple[Passage, ...]:
        """The passages that an example's prompt shows, found once."""
        if self.find is None:
            return ()
        if example.id not in self._found:
            self._found[example.id] = tuple(self.find(example))
        return self._found[example.id]

    def forget(self) -> None:
        """Find passages anew: latency counts retrieval."""
        self._found.clear()

    def recall(self, examples: Sequence[Example]) -> float | None:
        """The share of gold passages among those shown; None where no example names its gold passage."""
        known = [example for example in examples if example.evidence]
        if self.find is None or not known:
            return None
        return sum(self._share_of_evidence(example) for example in known) / len(known)

    def _share_of_evidence(self, example: Example) -> float:
        shown = {passage.id for passage in self.passages(example)}
        return len(shown & set(example.evidence)) / len(set(example.evidence))


def bind(
    settings: Mapping[str, Any], task: Task, pool: Sequence[Example], seed: int, index: Index | None = None
) -> Context:
    """The context that `settings` name, for a task.

    `pool` holds the labelled rows that demonstrations are drawn from; `index` is reused where one is built already.
    NotApplicable where the task lacks what the context shows.
    """
    check_applies(settings, task)
    name = settings["name"]
    if name == "instructed":
        return Context(name, instructions=task.instructions or "")
    if name == "few_shot":
        return _few_shot(int(settings["k"]), pool, seed)
    if name == "rag":
        k = int(settings["k"])
        built = index or Index.build(task.corpus, settings["embedder"])
        return Context(name, find=lambda example: built.search_for(example, k), index=built, k=k)
    if name == "oracle":
        passages = {passage.id: passage for passage in task.corpus}
        return Context(name, find=lambda example: _gold(example, passages))
    return Context(name)


def check_applies(settings: Mapping[str, Any], task: Task) -> None:
    """Refuse a context that the task has nothing for; needs no model, so a sweep can list what it skips."""
    name = settings["name"]
    if name not in KNOBS:
        raise UserError(f"context={name}: known are {', '.join(KNOBS)}.")
    if name == "instructed" and not task.instructions:
        raise NotApplicable(f"{task.name} has no written instructions (task.yaml: instructions: FILE)")
    if name in ("rag", "oracle") and not task.corpus:
        raise NotApplicable(f"{task.name} has no documents (corpus.jsonl)")
    if name == "oracle" and not any(example.evidence for example in task.splits["test"]):
        raise NotApplicable(f"{task.name} does not say which passages are gold (task.yaml: evidence: FIELD)")


def _few_shot(k: int, pool: Sequence[Example], seed: int) -> Context:
    if k < 1:
        raise UserError(f"context.k={k}: few-shot needs at least 1 demonstration.")
    if k + 1 > len(pool):
        raise UserError(
            f"context.k={k}: the pool of labelled training rows has {len(pool)}, and a row never sees itself, so at "
            f"most {max(0, len(pool) - 1)} can be shown. Lower context.k or raise max_train_examples."
        )
    drawn = random.Random(f"demonstrations:{seed}").sample(list(pool), k + 1)
    return Context("few_shot", demonstrations=tuple(drawn), shots=k)


def _gold(example: Example, passages: Mapping[str, Passage]) -> list[Passage]:
    missing = [doc for doc in example.evidence if doc not in passages]
    if missing:
        raise UserError(f"Row {example.id}: its gold passage {missing[0]!r} is not in corpus.jsonl.")
    return [passages[doc] for doc in example.evidence]


def _as_text(passages: Sequence[Passage]) -> str:
    """Passages as the prompt shows them, nearest first."""
    if not passages:
        return ""
    shown = [f"{passage.title}: {passage.text}" if passage.title else passage.text for passage in passages]
    return "Use these passages.\n\n" + "\n\n".join(shown)


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}
