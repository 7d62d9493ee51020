"""A Task: items to answer, documents to read, and how an answer is scored."""

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
    """The training target."""
    answers: tuple[str, ...]
    """All accepted answers."""
    choices: tuple[str, ...]
    """The texts to choose from; empty unless the task's kind is choice."""
    query: str
    """The retrieval query."""
    evidence: tuple[str, ...]
    """Ids of the gold passages."""
    slice: str | None
    cluster: str | None
    outdated: tuple[str, ...] = ()
    """Answers that were right before the facts changed."""
    row: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The row as read, for rules that depend on its fields."""


@dataclass(frozen=True)
class Task:
    """A task with its rows; `splits` has train (possibly empty), validation and test."""

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
    """The documents at the time of the training rows; differs from `corpus` only if the task revises another."""
    data_sha256: str
    """Hash of the definition, the files it names, all rows and the corpus, as read."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema of an answer (kind json)."""
    databases: Mapping[str, str] = field(default_factory=dict)
    """SQL scripts by name; a query must be right on all of them (kind sql)."""
    rules: tuple[Rule, ...] = ()
    """The rules that a reply must keep (kind text)."""
    abstains: str | None = None
    """The answer to give if the documents do not contain one."""
    twin: str | None = None
    """The public task that tests the same ability."""
    revises: str | None = None
    """The task that the training and validation rows come from. Both tasks draw the same rows and share weights."""
    predicted: tuple[str, ...] = ()
    """Predicted orders of methods, written before any run: chains such as "lora > few_shot >= zero_shot"."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many rows of each split were dropped because a later split repeats them."""

    def take(self, split: str, most: int | None, seed: int = 0) -> tuple[Example, ...]:
        """A seeded sample of at most `most` rows of a split; smaller samples are subsets of larger ones."""
        rows = list(self.splits[split])
        if most is None or most >= len(rows):
            return tuple(rows)
        name = self.name if split == "test" else self.revises or self.name
        random.Random(f"{seed}:{name}:{split}").shuffle(rows)
        return tuple(rows[:most])
