"""A Task: items to answer, documents to read, and how an answer is judged."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.tasks.documents import Passage
from harness.tasks.reply_rules import Rule

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """One row of a task, rendered."""

    id: str
    prompt: str
    """The question as the model reads it, without context."""
    answer: str
    """What training teaches."""
    answers: tuple[str, ...]
    """Every text that counts as right."""
    choices: tuple[str, ...]
    """The texts to choose from; empty if the kind is not choice."""
    query: str
    """What retrieval searches for."""
    evidence: tuple[str, ...]
    """Ids of the gold passages."""
    slice: str | None
    cluster: str | None
    outdated: tuple[str, ...] = ()
    """What was right before the facts changed."""
    row: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The row as it was read, for rules that look at it."""


@dataclass(frozen=True)
class Task:
    """A task with its rows; `splits` has train, validation and test, of which train may be empty."""

    name: str
    about: str
    probes: str
    kind: str
    metric: str
    max_new_tokens: int
    instructions: str | None
    splits: Mapping[str, tuple[Example, ...]]
    corpus: tuple[Passage, ...]
    training_corpus: tuple[Passage, ...]
    """The documents as they were when the training rows were written; the same unless the task revises another."""
    data_sha256: str
    """Of the definition, the files beside it, all rows and the corpus, as read."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema of an answer (kind json)."""
    databases: Mapping[str, str] = field(default_factory=dict)
    """SQL scripts by name, on each of which a query must be right (kind sql)."""
    rules: tuple[Rule, ...] = ()
    """What a reply must keep (kind text)."""
    abstains: str | None = None
    """What to answer if the documents do not say."""
    twin: str | None = None
    """The public task that asks the same of a method."""
    revises: str | None = None
    """The task whose training and validation rows these are; the same rows are drawn, so the same weights serve
    both."""
    predicted: tuple[str, ...] = ()
    """Of the order of methods, before any has run: chains such as "lora > few_shot >= zero_shot"."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many rows of a split are not used since a later split asks the same."""

    def take(self, split: str, most: int | None, seed: int = 0) -> tuple[Example, ...]:
        """At most `most` rows of a split: a seeded sample, the smaller of two sizes a part of the larger."""
        rows = list(self.splits[split])
        if most is None or most >= len(rows):
            return tuple(rows)
        name = self.name if split == "test" else self.revises or self.name
        random.Random(f"{seed}:{name}:{split}").shuffle(rows)
        return tuple(rows[:most])
