"""Chat turns to token ids, the same way for training, scoring and generation.

A prompt is the rendered turns up to the start of the assistant's turn; a completion is the answer and the end of that
turn. They are tokenised separately, so the boundary is the same in training, in scoring a choice and in generation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.contexts.context import Context, Material, Messages
from harness.tasks.documents import Passage
from harness.tasks.task import Example


@dataclass(frozen=True)
class Prompt:
    """A prompt for one model: text, token ids and what is in it."""

    text: str
    ids: list[int]
    left_out: int
    """How many demonstrations were dropped because the prompt was too long."""
    passages: tuple[Passage, ...] = ()
    """The passages in the prompt."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer with its chat template, or with a plain-text format if it has none."""

    tokenizer: Any

    @property
    def end_of_turn(self) -> int:
        """The id that ends an answer."""
        return int(self.tokenizer.eos_token_id)

    def text(self, messages: Messages) -> str:
        """The prompt's text, rendered by the chat template."""
        if self.tokenizer.chat_template:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        return _plain(messages)

    def prompt(self, messages: Messages) -> list[int]:
        """Token ids of a prompt."""
        return self._ids(self.text(messages))

    def _ids(self, text: str) -> list[int]:
        """Token ids of a prompt's text; a chat template has written its own special tokens."""
        templated = bool(self.tokenizer.chat_template)
        return list(self.tokenizer(text, add_special_tokens=not templated)["input_ids"])

    def fit(self, context: Context, example: Example, most: int, material: Material | None = None) -> Prompt:
        """An example's prompt; the first demonstrations are dropped until it has at most `most` tokens.

        Without any demonstrations it may still be longer than `most`. material: the result of `context.gather(example)`
        if the caller already has it.
        """
        material = context.gather(example) if material is None else material
        available = len(material.demonstrations)
        for count in range(available, -1, -1):
            text = self.text(context.render(example, material, count))
            ids = self._ids(text)
            if len(ids) <= most:
                break
        return Prompt(text, ids, available - count, material.passages)

    def completion(self, answer: str) -> list[int]:
        """Token ids of an answer and the end of the turn."""
        text = answer if self.tokenizer.chat_template else f" {answer}"
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.end_of_turn]

    def decode(self, ids: list[int]) -> str:
        """The text of generated ids up to the end of the turn; without a chat template only the first line of it."""
        turn = ids[: ids.index(self.end_of_turn)] if self.end_of_turn in ids else ids
        text = str(self.tokenizer.decode(turn, skip_special_tokens=True)).strip()
        return text if self.tokenizer.chat_template else text.split("\n")[0]


def _plain(messages: Messages) -> str:
    """Turns as text for a model without a chat template: each question ends in `Answer:`."""
    parts = []
    for message in messages:
        parts.append(f"{message['content']}\nAnswer:" if message["role"] == "user" else f" {message['content']}\n\n")
    return "".join(parts)
