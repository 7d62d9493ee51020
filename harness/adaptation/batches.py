"""Training rows as token ids, and batches of them as tensors: padded, or packed into one row."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from datasets import Dataset

from harness.contexts.chat_format import Encoder
from harness.contexts.context import Context
from harness.errors import UserError
from harness.inference.shared_prefix import has_learned_prompt, same
from harness.measurement.flops import Matrices
from harness.models.loading import Base
from harness.tasks.documents import Passage
from harness.tasks.task import Example

IGNORED = -100
_PROBED = 6  # tokens


@dataclass(frozen=True)
class Rows:
    """Tokenised rows: prompt and completion ids, with labels on the completion."""

    input_ids: list[list[int]]
    labels: list[list[int]]
    left_out: int = 0
    """How many demonstrations did not fit, over all rows."""

    @classmethod
    def encode(cls, context: Context, encoder: Encoder, examples: Sequence[Example], max_length: int) -> Rows:
        """Rows in the training context; UserError if a row is too long: a truncated one would teach a wrong ending."""
        inputs, labels, left_out = [], [], 0
        for example in examples:
            completion = encoder.completion(example.answer)
            prompt = encoder.fit(context, example, max_length - len(completion))
            left_out += prompt.left_out
            if len(prompt.ids) + len(completion) > max_length:
                raise UserError(
                    f"Training row {example.id} has {len(prompt.ids) + len(completion)} tokens, more than "
                    f"training.max_length={max_length}. Raise it, or shorten the row or its context."
                )
            inputs.append(prompt.ids + completion)
            labels.append([IGNORED] * len(prompt.ids) + completion)
        return cls(inputs, labels, left_out)

    @classmethod
    def of_documents(cls, passages: Sequence[Passage], encoder: Encoder, form: str, max_length: int) -> Rows:
        """The documents as rows, to teach their content.

        form: `text`, continued pretraining with the loss on every token; `questions`, the title as a question and
        the passage as its answer.
        """
        inputs, labels = [], []
        for passage in passages:
            prompt: list[int] = []
            if form == "questions":
                if not passage.title:
                    continue
                prompt = encoder.prompt([{"role": "user", "content": f"What do you know about this? {passage.title}"}])
            text = passage.text if form == "questions" else passage.shown
            completion = encoder.completion(text)[: max_length - len(prompt)]
            inputs.append(prompt + completion)
            labels.append([IGNORED] * len(prompt) + completion)
        return cls(inputs, labels)

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.input_ids + other.input_ids, self.labels + other.labels, self.left_out + other.left_out)

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def longest(self) -> int:
        """The number of tokens in the longest row."""
        return max(map(len, self.input_ids), default=0)

    @property
    def longest_answer(self) -> int:
        """The largest number of tokens with a loss in a row."""
        return max((sum(label != IGNORED for label in labels) for labels in self.labels), default=0)

    @property
    def mean_length(self) -> float:
        return sum(map(len, self.input_ids)) / max(1, len(self))

    def sha256(self) -> str:
        return hashlib.sha256(json.dumps([self.input_ids, self.labels]).encode()).hexdigest()

    def dataset(self) -> Dataset:
        return Dataset.from_dict({"input_ids": self.input_ids, "labels": self.labels})


@dataclass(frozen=True)
class Batch:
    """What the loss needs to know of a batch, counted before it is on the device: counting there would wait for it."""

    columns: torch.Tensor
    """The columns in which a row has a label."""
    tokens: int
    """Without padding."""
    learned: int
    """Tokens with a loss."""

    @classmethod
    def taken_from(cls, inputs: dict[str, Any]) -> Batch:
        """The fields of a batch, removed from the inputs of the model."""
        return cls(**{field.name: inputs.pop(field.name) for field in fields(cls)})


@dataclass(frozen=True)
class Layout:
    """How a batch of rows becomes tensors: padded, or packed into one row if that takes fewer operations.

    In a packed row a token attends only to its sequence (positions restart at 0 with each), but attention scores with
    all other tokens are computed too: cheaper than padding for few or short rows, more expensive for many long ones.
    """

    padding: int
    matrices: Matrices | None
    """Set for a model that can read several sequences in one row; None for other models."""

    @classmethod
    def of(cls, base: Base) -> Layout:
        return cls(base.tokenizer.pad_token_id, Matrices.of(base.model) if keeps_rows_apart(base.model) else None)

    def __call__(self, rows: Sequence[Mapping[str, list[int]]]) -> dict[str, Any]:
        """The inputs of the model and the labels, with the fields of `Batch`."""
        inputs = self._tensors(rows)
        learned = inputs["labels"] != IGNORED
        columns = learned.any(0).nonzero().flatten()
        tokens = sum(len(row["input_ids"]) for row in rows)
        return {**inputs, **vars(Batch(columns, tokens, int(learned.sum())))}

    def _tensors(self, rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        labels = [torch.tensor([IGNORED, *row["labels"][1:]]) for row in rows]  # nothing predicts a first token
        if self._packs([len(row) for row in ids]):
            positions = torch.cat([torch.arange(len(row)) for row in ids])
            return {
                "input_ids": torch.cat(ids)[None],
                "position_ids": positions[None],
                "labels": torch.cat(labels)[None],
            }
        pad = functools.partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
        return {
            "input_ids": pad(ids, padding_value=self.padding),
            "attention_mask": pad([torch.ones_like(row) for row in ids]),
            "labels": pad(labels, padding_value=IGNORED),
        }

    def _packs(self, lengths: Sequence[int]) -> bool:
        if self.matrices is None or len(lengths) == 1:
            return False
        packed, padded = sum(lengths), len(lengths) * max(lengths)
        return self.matrices.read(packed, packed**2) < self.matrices.read(padded, padded * max(lengths))


@torch.no_grad()
def keeps_rows_apart(model: Any) -> bool:
    """Whether a model reads two sequences packed in one row as if each were alone; tries it with a few tokens."""
    if has_learned_prompt(model):
        return False
    ids = torch.arange(2 * _PROBED, device=model.device)[None] + 10
    positions = torch.arange(_PROBED, device=model.device).repeat(2)[None]
    model.eval()
    try:
        packed = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0, _PROBED:]
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):  # unusual attention or positions
        return False
    return same(packed, model(input_ids=ids[:, _PROBED:], use_cache=False).logits[0])
