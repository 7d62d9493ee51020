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
    # the question as the model reads it, without context
    answer: str
    # what training teaches
    answers: tuple[str, ...]
    # every text that counts as right
    choices: tuple[str, ...]
    # the texts to choose from; empty where the kind is not choice
    query: str
    # what retrieval searches for
    evidence: tuple[str, ...]
    # ids of the gold passages
    slice: str | None
    cluster: str | None
    outdated: tuple[str, ...] = ()
    # what was right before the facts changed
    row: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    # the row as it was read, for rules that look at it


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
    # the documents as they were when the training rows were written; the same unless the task revises another
    data_sha256: str
    # of the definition, the files beside it, all rows and the corpus, as read
    schema: Mapping[str, Any] | None = None
    # JSON Schema of an answer (kind json)
    databases: Mapping[str, str] = field(default_factory=dict)
    # SQL scripts by name, on each of which a query must be right (kind sql)
    rules: tuple[Rule, ...] = ()
    # what a reply must keep (kind text)
    abstains: str | None = None
    # what to answer where the documents do not say
    twin: str | None = None
    # the public task that asks the same of a method
    revises: str | None = None
    # the task whose training and validation rows these are; the same rows are drawn, so the same weights serve both
    predicted: tuple[str, ...] = ()
    # of the order of methods, before any has run: chains such as "lora > few_shot >= zero_shot"
    left_out: Mapping[str, int] = field(default_factory=dict)
    # how many rows of a split are not used since a later split asks the same

    def take(self, split: str, most: int | None, seed: int = 0) -> tuple[Example, ...]:
        """At most `most` rows of a split: a seeded sample, the smaller of two sizes a part of the larger."""
        rows = list(self.splits[split])
        if most is None or most >= len(rows):
            return tuple(rows)
        name = self.name if split == "test" else self.revises or self.name
        random.Random(f"{seed}:{name}:{split}").shuffle(rows)
        return tuple(rows[:most])
