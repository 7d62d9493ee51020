"""Decoding against the plainest way to do the same."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.contexts.chat_format import Encoder
from harness.inference.generate import decode, generate, surviving
from harness.inference.shared_prefix import SharedPrefix
from harness.models import loading
from tests.inference.asking import CHOICES, generate_all, ignore_progress, load_tiny, prefix_of, prompt_of
from tests.tiny_model import TINY


def test_rows_leave_and_others_take_their_places(base: loading.Base) -> None:
    """An answer that ends at once, and more prompts than rows."""
    prompts = [prompt_of(base, f"{'a ' * n}{n}") for n in (3, 40, 11, 25, 1, 7, 8, 9, 2)]
    apart = generate_all(base, prompts, None, rows=1)
    ends = Encoder(base.tokenizer).end_of_turn
    early = next(token for answer in apart for token in answer[:2])
    for end in (ends, early):
        encoder = Ending(base.tokenizer, end)
        expected = generate(base.model, encoder, prompts, 6, 1, None, ignore_progress)
        for rows in (1, 2, 5, 16):
            assert (
                generate(base.model, encoder, prompts, 6, rows, prefix_of(base, prompts), ignore_progress) == expected
            )


def test_in_half_precision_batches_answer_as_single_requests_do() -> None:
    """Rounding differs with the shape of a batch, so an answer may differ where two tokens are nearly as likely."""
    base = loading.load(replace(TINY, dtype="bfloat16"), None)
    encoder, prompts = Encoder(base.tokenizer), [prompt_of(base, f"{'a ' * n}{n}") for n in range(50)]
    alone = [decode(base.model, prompt, encoder.end_of_turn, 3).ids for prompt in prompts]
    for prefix in (None, prefix_of(base, prompts)):
        batched = generate(base.model, encoder, prompts, 3, 8, prefix, ignore_progress)
        assert sum(a == b for a, b in zip(batched, alone, strict=True)) >= 40


class Ending(Encoder):
    """An encoder for which a turn ends with a token of the test's choice."""

    def __init__(self, tokenizer: Any, end: int) -> None:
        super().__init__(tokenizer)
        object.__setattr__(self, "_end", end)

    @property
    def end_of_turn(self) -> int:
        return int(self._end)  # type: ignore[attr-defined]


def test_a_batch_that_is_too_large_is_tried_in_half(monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_tiny()
    prompts = [prompt_of(base, f"{'a ' * n}{n}") for n in range(9)]
    prefix, tried, genuine = prefix_of(base, prompts), [], SharedPrefix.own

    def small(self: SharedPrefix, rows: int, room: int) -> Any:
        tried.append(rows)
        if rows > 2:
            raise torch.OutOfMemoryError("too much")
        return genuine(self, rows, room)

    monkeypatch.setattr(SharedPrefix, "own", small)
    assert generate_all(base, prompts, prefix, rows=8) == generate_all(base, prompts, None)
    assert tried == [8, 4, 2]
    monkeypatch.setattr(SharedPrefix, "own", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("too much")))
    with pytest.raises(torch.OutOfMemoryError):
        generate_all(base, prompts, prefix)


@pytest.mark.parametrize(
    "failure", [torch.OutOfMemoryError("full"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), MemoryError()], ids=repr
)
def test_a_failed_batch_is_released_before_the_next(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[weakref.ref[torch.Tensor]] = []
    alive_when_emptied: list[bool] = []
    sizes: list[int] = []

    def work(left: list[int], size: int) -> Iterator[tuple[int, int]]:
        tensor = torch.zeros(8)
        batches.append(weakref.ref(tensor))
        sizes.append(size)
        if size > 1:
            raise type(failure)(*failure.args)
        for index in left:
            yield index, index + int(tensor[0])

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive_when_emptied.append(batches[-1]() is not None))
    assert surviving(work, 3, 4, ignore_progress) == [0, 1, 2]
    assert sizes == [4, 2, 1]
    assert alive_when_emptied == [False, False]


def test_any_other_error_ends_the_work_at_once() -> None:
    def work(left: list[int], size: int) -> Iterator[tuple[int, int]]:
        raise RuntimeError(f"no such kernel for {size} rows")
        yield 0, 0

    with pytest.raises(RuntimeError, match="for 4 rows"):
        surviving(work, 3, 4, ignore_progress)


@torch.no_grad()
def test_one_request_is_decoded_as_the_plain_greedy_loop_does(base: loading.Base) -> None:
    prompt, ids = prompt_of(base), []
    for _ in range(6):
        inputs = torch.tensor([prompt + ids])
        logits = base.model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
        ids.append(int(logits[0, -1].argmax()))
    assert decode(base.model, prompt, end_of_turn=-1, most=6).ids == ids


def test_a_constrained_answer_is_one_of_the_choices(base: loading.Base) -> None:
    encoder = Encoder(base.tokenizer)
    choices = [encoder.completion(choice) for choice in CHOICES]
    for text in ("a", "b", "c", "d"):
        decoded = decode(base.model, prompt_of(base, text), encoder.end_of_turn, 2, choices)
        assert encoder.decode(decoded.ids) in CHOICES
