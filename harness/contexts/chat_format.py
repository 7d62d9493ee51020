"""From chat turns to token ids, the same way for training, scoring and generation.

A prompt is the rendered turns up to where the assistant speaks; a completion is the answer and the end of the turn.
The two are tokenised apart, so the boundary is the same in training, in scoring a choice and in generation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.contexts.context import Context, Material, Messages
from harness.tasks.documents import Passage
from harness.tasks.task import Example


@dataclass(frozen=True)
class Prompt:
    """A question as one model reads it."""

    text: str
    ids: list[int]
    left_out: int
    """Demonstrations that the model's window had no room for."""
    passages: tuple[Passage, ...] = ()
    """In the prompt."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer and how it speaks: through its chat template, or as plain text if it has none."""

    tokenizer: Any

    @property
    def end_of_turn(self) -> int:
        """The id that ends an answer."""
        return int(self.tokenizer.eos_token_id)

    def text(self, messages: Messages) -> str:
        """The prompt as the model reads it."""
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
        """An example's prompt in a context, with as many of its demonstrations as `most` tokens hold, the last ones.

        Longer than `most` only if it has no demonstrations left to leave out. material: what was gathered for the
        example, if that was done already.
        """
        material = context.gather(example) if material is None else material
        wanted = len(material.demonstrations)
        for shown in range(wanted, -1, -1):
            text = self.text(context.render(example, material, shown))
            ids = self._ids(text)
            if len(ids) <= most:
                break
        return Prompt(text, ids, wanted - shown, material.passages)

    def completion(self, answer: str) -> list[int]:
        """Token ids of an answer and the end of the turn."""
        spoken = answer if self.tokenizer.chat_template else f" {answer}"
        return [*self.tokenizer(spoken, add_special_tokens=False)["input_ids"], self.end_of_turn]

    def decode(self, ids: list[int]) -> str:
        """The text of generated ids, up to the end of the turn; without a chat template also up to the line's end."""
        spoken = ids[: ids.index(self.end_of_turn)] if self.end_of_turn in ids else ids
        text = str(self.tokenizer.decode(spoken, skip_special_tokens=True)).strip()
        return text if self.tokenizer.chat_template else text.split("\n")[0]


def _plain(messages: Messages) -> str:
    """Turns as text, for a model that knows no chat: demonstrations end in their answers, the question in `Answer:`."""
    parts = []
    for message in messages:
        parts.append(f"{message['content']}\nAnswer:" if message["role"] == "user" else f" {message['content']}\n\n")
    return "".join(parts)
