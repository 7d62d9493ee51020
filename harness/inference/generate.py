"""How text is generated: greedily, many prompts at a time, or one request at a time for latency.

With a shared prefix (`shared_prefix`) the common prompt prefix is prefilled once, and the rest of many prompts in
batches. Without one, transformers generates: the reference, and the fallback for a model whose attention cannot be
split.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from transformers import GenerationConfig

from harness.contexts.chat_format import Encoder
from harness.inference.cache_room import config_token_bytes, room
from harness.inference.shared_prefix import Rows, SharedPrefix, additive, decoder, has_learned_prompt, plain_rows, read
from harness.measurement.meter import now
from harness.measurement.out_of_memory import is_out_of_memory

T = TypeVar("T")
Progress = Callable[[int, int], None]

TOKENS = {"cpu": 512, "cuda": 8192}
"""Tokens in one forward pass: enough to keep the device busy."""
_ROWS = {"cpu": 32, "cuda": 128}
"""Answers that are generated at once, unless measure.batch_size is set."""


@dataclass(frozen=True)
class Decoded:
    """One request answered greedily, one token at a time."""

    ids: list[int]
    seconds: float
    first_token_seconds: float


@torch.inference_mode()
def generate(
    model: Any,
    encoder: Encoder,
    prompts: Sequence[Sequence[int]],
    most: int,
    batch_size: int | None,
    prefix: SharedPrefix | None,
    progress: Progress,
) -> list[list[int]]:
    """Greedy completions of at most `most` tokens, in the order of the prompts.

    batch_size: answers at once; None: the device's default. A batch that does not fit into memory is tried again with
    half the size.
    """
    size = batch_size or _ROWS[model.device.type]
    if prefix is None:
        return surviving(
            lambda left, rows: _generate_apart(model, encoder, prompts, left, most, rows), len(prompts), size, progress
        )
    with prefix.reading():
        return surviving(
            lambda left, rows: _generate_together(prefix, prompts, left, most, encoder.end_of_turn, rows),
            len(prompts),
            size,
            progress,
        )


def surviving(
    work: Callable[[list[int], int], Iterator[tuple[int, T]]], count: int, size: int, progress: Progress
) -> list[T]:
    """Run `work` on all indices in batches; after an out-of-memory error, go on with half the batch size."""
    done: dict[int, T] = {}
    while len(done) < count:
        exhausted = False
        try:
            for index, result in work([i for i in range(count) if i not in done], size):
                done[index] = result
                progress(len(done), count)
        except (RuntimeError, MemoryError) as cause:
            if size == 1 or not is_out_of_memory(cause):
                raise
            exhausted = True
        if exhausted:  # only now, since the exception's traceback keeps the batch's tensors alive
            size //= 2
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    return [done[i] for i in range(count)]


@dataclass
class _Answer:
    """An unfinished answer in one row of the cache: `length` slots of its prompt from slot `start` on, then its own."""

    index: int
    start: int
    length: int
    ids: list[int] = field(default_factory=list)

    @property
    def slot(self) -> int:
        """Where the last token, which is not read yet, belongs."""
        return self.start + self.length + len(self.ids) - 1

    def ended(self, most: int, end: int) -> bool:
        return self.ids[-1] == end or len(self.ids) == most


def _generate_together(
    prefix: SharedPrefix, prompts: Sequence[Sequence[int]], left: Sequence[int], most: int, end: int, rows: int
) -> Iterator[tuple[int, list[int]]]:
    """Continuous batching: a row leaves when its answer ends, and prompts that wait take its place, the longest first.

    Row r of the cache of keys and values belongs to `active[r]`; rows in use are always the first ones.
    """
    prompt_ends = {i: prefix.rest(prompts[i]) for i in left}
    waiting = sorted(left, key=lambda i: len(prompt_ends[i]))
    slots_per_row = len(prompt_ends[waiting[-1]]) + most
    rows = max(1, min(rows, len(left), room(prefix.device, prefix.token_bytes) // slots_per_row))
    cache = prefix.own(rows, slots_per_row)
    active: list[_Answer] = []
    while waiting or active:
        free = rows - len(active)
        # 1. Read new prompts if a quarter of the rows is free, since a step for few prompts costs nearly as much.
        if waiting and free and (free >= min(rows // 4, len(waiting)) or not active):
            width = len(prompt_ends[waiting[-1]])
            count = min(free, len(waiting), max(1, TOKENS[prefix.device.type] // width))
            batch = [waiting.pop() for _ in range(count)]
            stepping = [_Answer(i, width - len(prompt_ends[i]), len(prompt_ends[i])) for i in batch]
            kept = active
            cache.aim(slice(len(kept), len(kept) + count), torch.arange(width).expand(count, width))
            logits = prefix.read(plain_rows([prompt_ends[i] for i in batch], prefix), cache)
        # 2. Otherwise read the last token of every answer under way.
        else:
            stepping, kept = active, []
            cache.aim(slice(0, len(stepping)), torch.tensor([[answer.slot] for answer in stepping]))
            logits = prefix.read(_next_tokens(prefix, stepping, cache.seen), cache)
        # 3. Either way each row that was read has its next token.
        for answer, token in zip(stepping, logits[:, -1].argmax(-1).tolist(), strict=True):
            answer.ids.append(token)
        active = kept + stepping
        # 4. Hand over what has ended; the last row moves into the gap.
        for row in reversed(range(len(active))):
            if active[row].ended(most, end):
                yield active[row].index, active[row].ids
                last = active.pop()
                if row < len(active):
                    cache.move(len(active), row)
                    active[row] = last


def _next_tokens(prefix: SharedPrefix, answers: Sequence[_Answer], seen: int) -> Rows:
    """The last token of each answer; it sees its row's slots from the first that is no padding to its own."""
    tokens = torch.tensor([answer.ids[-1:] for answer in answers])
    depths = torch.tensor([[answer.slot - answer.start] for answer in answers])
    slots, starts = torch.arange(seen), torch.tensor([[answer.start] for answer in answers])
    visible = (slots >= starts) & (slots <= starts + depths)
    return Rows(tokens.to(prefix.device), depths.to(prefix.device), additive(visible[:, None], prefix))


def _generate_apart(
    model: Any, encoder: Encoder, prompts: Sequence[Sequence[int]], left: Sequence[int], most: int, rows: int
) -> Iterator[tuple[int, list[int]]]:
    """Generation by transformers, in batches of similar length, or of equal length if padding would change answers."""
    sizes = {i: len(prompts[i]) for i in left}
    rows = _rows_apart(model, rows, max(sizes.values()) + most)
    batch: list[int] = []
    for i in sorted(left, key=lambda i: sizes[i], reverse=True):
        if batch and (len(batch) == rows or (sizes[i] < sizes[batch[0]] and not _can_be_padded(model))):
            yield from _generate_batch(model, encoder, prompts, batch, most)
            batch = []
        batch.append(i)
    yield from _generate_batch(model, encoder, prompts, batch, most)


def _rows_apart(model: Any, rows: int, tokens_per_row: int) -> int:
    """At most so many rows; on a GPU no more than its memory has room for, where the configuration tells that."""
    if model.device.type != "cuda":
        return rows
    token_bytes = config_token_bytes(model.config.get_text_config(decoder=True), model.dtype.itemsize)
    if token_bytes is None:
        return rows
    return max(1, min(rows, room(model.device, token_bytes) // tokens_per_row))


def _can_be_padded(model: Any) -> bool:
    """Whether rows of a batch may differ in length: a soft prompt stands before the padding, which would shift it."""
    return not has_learned_prompt(model) or hasattr(model.active_peft_config, "prefix_projection")


def _generate_batch(
    model: Any, encoder: Encoder, prompts: Sequence[Sequence[int]], batch: Sequence[int], most: int
) -> Iterator[tuple[int, list[int]]]:
    padded = encoder.tokenizer.pad(
        {"input_ids": [list(prompts[i]) for i in batch]}, padding_side="left", return_tensors="pt"
    ).to(model.device)
    greedily = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,
        repetition_penalty=1.0,
        eos_token_id=encoder.end_of_turn,
        pad_token_id=encoder.tokenizer.pad_token_id,
    )
    out = model.generate(
        input_ids=padded["input_ids"], attention_mask=padded["attention_mask"], generation_config=greedily
    )
    completions = out[:, padded["input_ids"].shape[1] :].tolist()
    yield from zip(batch, (_until(ids, encoder.end_of_turn) for ids in completions), strict=True)


@torch.inference_mode()
def decode(
    model: Any,
    prompt: Sequence[int],
    end_of_turn: int | None,
    most: int,
    choices: Sequence[Sequence[int]] = (),
    prefix: SharedPrefix | None = None,
) -> Decoded:
    """Answer one request greedily, timed. With `choices`, only tokens that continue one of them are allowed.

    end_of_turn: the token after which the answer is over; None for an answer of exactly `most` tokens. prefix: the
    common prompt prefix, as a server has it cached; None to prefill the whole prompt.
    """
    most = most if not choices else max(map(len, choices))
    with contextlib.nullcontext() if prefix is None else prefix.reading():
        start = now()
        steps = _steps(model, prompt) if prefix is None else _steps_after(prefix, prompt, most)
        ids = [_pick(next(steps), [], choices)]
        first_token = now()
        while ids[-1] != end_of_turn and len(ids) < most:
            ids.append(_pick(steps.send(ids[-1]), ids, choices))
        return Decoded(_until(ids, end_of_turn), now() - start, first_token - start)


@torch.inference_mode()
def last_logits(model: Any, prompt: Sequence[int]) -> torch.Tensor:
    """Logits of the first answer token; shape (vocabulary,)."""
    return read(model, prompt).logits[0, -1].float()


def _steps(model: Any, prompt: Sequence[int]) -> Any:
    """Logits after a prompt, then after each token that is sent."""
    out = read(model, prompt)
    while True:
        token = yield out.logits[0, -1]
        ids = torch.tensor([[token]], device=out.logits.device)
        out = decoder(model)(input_ids=ids, past_key_values=out.past_key_values)


def _steps_after(prefix: SharedPrefix, prompt: Sequence[int], most: int) -> Any:
    """The same, where the prompt's prefix is cached."""
    rest = prefix.rest(prompt)
    cache, answer = prefix.own(1, len(rest) + most), _Answer(0, 0, len(rest))
    cache.aim(slice(0, 1), torch.arange(len(rest))[None])
    logits = prefix.read(plain_rows([rest], prefix), cache)
    while True:
        answer.ids.append((yield logits[0, -1]))
        cache.aim(slice(0, 1), torch.tensor([[answer.slot]]))
        logits = prefix.read(_next_tokens(prefix, [answer], cache.seen), cache)


def _pick(scores: torch.Tensor, so_far: list[int], choices: Sequence[Sequence[int]]) -> int:
    if not choices:
        return int(scores.argmax())
    allowed = sorted({c[len(so_far)] for c in choices if list(c[: len(so_far)]) == so_far and len(c) > len(so_far)})
    return allowed[int(scores[allowed].argmax())]


def _until(ids: Sequence[int], end: int | None) -> list[int]:
    """Ids up to the end of the turn, which is kept."""
    kept = list(ids)
    return kept[: kept.index(end) + 1] if end in kept else kept
