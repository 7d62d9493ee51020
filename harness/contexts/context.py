"""A Context: what goes into the prompt. Bound to a task it has one method, `render(example) -> messages`.

    context = bind(ContextSettings("few_shot", k=4), task, pool, seed=0)
    context.render(example)      # [{"role": "user", "content": ...}, {"role": "assistant", ...}, ...]

Training and evaluation call the same `render`. It never shows an example its own answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.contexts.context_settings import ContextSettings
from harness.contexts.demonstrations import chooser
from harness.contexts.retrieval import Index
from harness.contexts.retrieval_index import Step
from harness.errors import NotApplicable, UserError
from harness.tasks.documents import Passage
from harness.tasks.task import Example, Task

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Material:
    """The demonstrations and passages for one question."""

    demonstrations: tuple[Example, ...] = ()
    """Worked examples in the order of the prompt, never the question itself."""
    passages: tuple[Passage, ...] = ()
    """Retrieved or gold passages, best first."""


@dataclass(frozen=True)
class Context:
    """The instructions, demonstrations and passages to put into prompts; any of them may be absent."""

    name: str
    instructions: str = ""
    choose: Callable[[Example], Sequence[Example]] | None = None
    """Returns the demonstrations for a question."""
    find: Callable[[Example], Sequence[Passage]] | None = None
    """Returns the passages for a question."""
    index: Index | None = None
    k: int = 0

    def gather(self, example: Example) -> Material:
        """Choose the demonstrations and find the passages for a question."""
        return Material(
            tuple(self.choose(example)) if self.choose else (), tuple(self.find(example)) if self.find else ()
        )

    def render(self, example: Example, material: Material | None = None, most: int | None = None) -> Messages:
        """The chat turns that prompt for an example's answer.

        material: the result of `gather(example)` if the caller already has it. most: include only the last `most`
        demonstrations; None: all.
        """
        material = self.gather(example) if material is None else material
        messages: Messages = []
        demonstrations = material.demonstrations
        if most is not None:
            demonstrations = demonstrations[len(demonstrations) - min(most, len(demonstrations)) :]
        for demonstration in demonstrations:
            messages += [_user(demonstration.prompt), {"role": "assistant", "content": demonstration.answer}]
        parts = [self.instructions, _as_text(material.passages), example.prompt]
        return [*messages, _user("\n\n".join(part for part in parts if part))]


def bind(
    settings: ContextSettings,
    task: Task,
    pool: Sequence[Example],
    seed: int,
    corpus: Sequence[Passage] | None = None,
    step: Step = lambda *_: None,
) -> Context:
    """The context of `settings` for a task.

    pool: the labelled rows to draw demonstrations from. corpus: the documents to search, by default the task's.
    NotApplicable if the task has no instructions, documents or gold passages and the context needs them.
    """
    check_applies(settings, task)
    name, documents = settings.name, task.corpus if corpus is None else corpus
    if name == "instructed":
        return Context(name, instructions=task.instructions or "")
    if name == "few_shot":
        k = settings.required_k
        return Context(name, choose=chooser(settings, k, task, pool, seed), k=k)
    if name == "rag":
        k = settings.required_k
        index = Index.build(documents, settings, step)
        return Context(name, find=lambda example: index.search_for(example, k), index=index, k=k)
    if name == "oracle":
        passages = {passage.id: passage for passage in documents}
        return Context(name, find=lambda example: _gold(example, passages))
    return Context(name)


def check_applies(settings: ContextSettings, task: Task) -> None:
    """NotApplicable if the task lacks what the context needs. Loads no model, so a sweep can list what it skips."""
    name = settings.name
    if name == "instructed" and not task.instructions:
        raise NotApplicable(f"{task.name} has no written instructions (task.yaml: instructions: FILE)")
    if name in ("rag", "oracle") and not task.corpus:
        raise NotApplicable(f"{task.name} has no documents (corpus.jsonl)")
    if name == "oracle" and not any(example.evidence for example in task.splits["test"]):
        raise NotApplicable(f"{task.name} does not say which passages are gold (task.yaml: evidence: FIELD)")


def _gold(example: Example, passages: Mapping[str, Passage]) -> list[Passage]:
    missing = [doc for doc in example.evidence if doc not in passages]
    if missing:
        raise UserError(f"Row {example.id}: its gold passage {missing[0]!r} is not in corpus.jsonl.")
    return [passages[doc] for doc in example.evidence]


def _as_text(passages: Sequence[Passage]) -> str:
    """The passages as the prompt's text, best first."""
    if not passages:
        return ""
    return "Use these passages.\n\n" + "\n\n".join(passage.shown for passage in passages)


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}
