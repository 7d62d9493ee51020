"""How a model answers: choices by likelihood, text by greedy generation, and one request at a time for latency.

A choice's score is the sum of log p(choice tokens and end of turn | prompt). With a shared prefix (`shared_prefix`)
what all prompts begin with is read once, many prompts are read side by side, and an item's choices are read with its
prompt as one tree: a node for each distinct beginning, which sees the prompt and its own ancestors (the attention of
SpecInfer, Miao et al. 2023, used for scoring). Without one, every choice is a sequence of its own, and text is what
transformers generates: the reference, and the way for a model whose attention cannot be shared.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from transformers import GenerationConfig

from harness.measure import now
from harness.prompts import Encoder
from harness.shared_prefix import (
    Rows,
    SharedPrefix,
    additive,
    at_least_single,
    decoder,
    has_learned_prompt,
    plain_rows,
    read,
)

T = TypeVar("T")
Progress = Callable[[int, int], None]

_TOKENS = {"cpu": 512, "cuda": 8192}
"""Tokens that are read at once: enough to keep the device busy."""
_ROWS = {"cpu": 32, "cuda": 128}
"""Answers that are generated at once, unless measure.batch_size says it."""
_ROOM = {"cpu": 2**14, "cuda": 2**19}
"""Tokens whose keys and values are held at once while generating, those of the prefix not counted."""


@dataclass(frozen=True)
class Question:
    """A prompt's token ids, and those of each choice with the end of the turn."""

    prompt: Sequence[int]
    choices: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Decoded:
    """One request answered greedily, one token at a time."""

    ids: list[int]
    seconds: float
    first_token_seconds: float


@torch.inference_mode()
def score_choices(
    model: Any, questions: Sequence[Question], prefix: SharedPrefix | None, progress: Progress
) -> list[list[float]]:
    """Log-likelihood of each choice of each question after its prompt, in nats."""
    if prefix is None:
        return _surviving(lambda left, _: _score_apart(model, questions, left), len(questions), 1, progress)
    with prefix.reading():
        return _surviving(
            lambda left, tokens: _score_together(prefix, questions, left, tokens),
            len(questions),
            _TOKENS[prefix.device.type],
            progress,
        )


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

    batch_size: answers at once; None where it shall suit the device. What does not fit into memory is tried again in
    batches of half the size.
    """
    size = batch_size or _ROWS[model.device.type]
    if prefix is None:
        return _surviving(
            lambda left, rows: _generate_apart(model, encoder, prompts, left, most, rows), len(prompts), size, progress
        )
    with prefix.reading():
        return _surviving(
            lambda left, rows: _generate_together(prefix, prompts, left, most, encoder.end_of_turn, rows),
            len(prompts),
            size,
            progress,
        )


def _surviving(
    work: Callable[[list[int], int], Iterator[tuple[int, T]]], count: int, size: int, progress: Progress
) -> list[T]:
    """What `work` finds for the indices left, in batches of a size that is halved when memory does not suffice."""
    done: dict[int, T] = {}
    while len(done) < count:
        try:
            for index, found in work([i for i in range(count) if i not in done], size):
                done[index] = found
                progress(len(done), count)
        except RuntimeError as cause:
            if size == 1 or not _out_of_memory(cause):
                raise
            size //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    return [done[i] for i in range(count)]


def _out_of_memory(cause: RuntimeError) -> bool:
    return isinstance(cause, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(cause)


def _score_apart(model: Any, questions: Sequence[Question], left: Sequence[int]) -> Iterator[tuple[int, list[float]]]:
    """The definition: a choice after its prompt is one sequence, read from its first token to its last but one."""
    for i in left:
        scores = []
        for choice in questions[i].choices:
            ids = torch.tensor([[*questions[i].prompt, *choice[:-1]]], device=model.device)
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), logits_to_keep=len(choice)).logits
            logits = at_least_single(logits[0])
            said = logits.gather(1, torch.tensor(choice, device=ids.device)[:, None])[:, 0]
            scores.append(float((said - logits.logsumexp(-1)).sum()))
        yield i, scores


def _score_together(
    prefix: SharedPrefix, questions: Sequence[Question], left: Sequence[int], tokens: int
) -> Iterator[tuple[int, list[float]]]:
    """Questions side by side, prompt and tree of choices in one row, those of similar length together."""
    rests = {i: prefix.rest(questions[i].prompt) for i in left}
    trees = {i: _tree(tuple(map(tuple, questions[i].choices))) for i in left}
    sizes = {i: len(rests[i]) + len(trees[i].tokens) for i in left}
    for some in _batches(sorted(left, key=lambda i: sizes[i], reverse=True), sizes, tokens):
        rows, branched = _trees_in_rows(prefix, [rests[i] for i in some], [trees[i] for i in some])
        logits = at_least_single(prefix.read(rows, logits=1 + branched))
        totals = logits.logsumexp(-1)
        for row, i in enumerate(some):
            columns, said = trees[i].predicted
            found = (logits[row, columns, said] - totals[row, columns]).tolist()
            yield i, [sum(found[start:stop]) for start, stop in trees[i].spans]


def _batches(order: Sequence[int], sizes: dict[int, int], tokens: int) -> Iterator[list[int]]:
    """Consecutive indices whose rows, padded to the first and longest, hold at most so many tokens; at least one."""
    some: list[int] = []
    for i in order:
        if some and (len(some) + 1) * sizes[some[0]] > tokens:
            yield some
            some = []
        some.append(i)
    if some:
        yield some


def _trees_in_rows(prefix: SharedPrefix, rests: Sequence[Sequence[int]], trees: Sequence[_Tree]) -> tuple[Rows, int]:
    """Each prompt's own tokens, padded on the left so that all end in one column, and after it its tree of choices.

    Returns the rows and the columns that the trees take.
    """
    stem, crown = max(map(len, rests)), max(len(tree.tokens) for tree in trees)
    shape = len(rests), stem + crown
    tokens, depths = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    seen = torch.eye(stem + crown, dtype=torch.bool).repeat(len(rests), 1, 1)
    causal = torch.ones(stem, stem, dtype=torch.bool).tril()
    for row, (rest, tree) in enumerate(zip(rests, trees, strict=True)):
        begin, end = stem - len(rest), stem + len(tree.tokens)
        tokens[row, begin:end] = torch.tensor([*rest, *tree.tokens])
        depths[row, begin:end] = torch.tensor([*range(len(rest)), *(len(rest) + depth for depth in tree.depths)])
        seen[row, begin:stem, begin:stem] = causal[begin:, begin:]
        seen[row, stem:end, begin:stem] = True
        seen[row, stem:end, stem:end] = tree.seen
    return Rows(tokens.to(prefix.device), depths.to(prefix.device), additive(seen, prefix)), crown


@dataclass(frozen=True)
class _Tree:
    """The distinct beginnings of some sequences; a sequence's last token is predicted and never read."""

    tokens: list[int]
    depths: list[int]
    seen: torch.Tensor
    # shape (nodes, nodes): a node sees its ancestors and itself
    predicted: tuple[list[int], list[int]]
    # what is predicted where, sequence after sequence: the column (0 the prompt's end, then the nodes) and the token
    spans: list[tuple[int, int]]
    # of `predicted`, each sequence's part


@functools.lru_cache(maxsize=1024)
def _tree(sequences: tuple[tuple[int, ...], ...]) -> _Tree:
    nodes: dict[tuple[int, int], int] = {}
    # by its parent (-1 the root) and its token
    tokens: list[int] = []
    depths, parents = [], []
    said: list[int] = []
    columns, spans = [], []
    for sequence in sequences:
        at, begun = -1, len(said)
        for depth, token in enumerate(sequence):
            columns.append(at + 1)
            said.append(token)
            if depth == len(sequence) - 1:
                break
            if (at, token) not in nodes:
                nodes[at, token] = len(tokens)
                tokens.append(token)
                depths.append(depth)
                parents.append(at)
            at = nodes[at, token]
        spans.append((begun, len(said)))
    seen = torch.eye(len(tokens), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            seen[node] |= seen[parent]
    return _Tree(tokens, depths, seen, (columns, said), spans)


@dataclass
class _Answer:
    """An answer under way, in a row of keys and values: from slot `start` on `length` of the prompt's, then its own."""

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
    """Rows leave when their answer ends, and the prompts that wait take their places, the longest first."""
    rests = {i: prefix.rest(prompts[i]) for i in left}
    waiting = sorted(left, key=lambda i: len(rests[i]))
    room = len(rests[waiting[-1]]) + most
    rows = max(1, min(rows, len(left), _ROOM[prefix.device.type] // room))
    own = prefix.own(rows, room)
    active: list[_Answer] = []
    while waiting or active:
        free = rows - len(active)
        if waiting and free and (free >= min(rows // 4, len(waiting)) or not active):
            width = len(rests[waiting[-1]])
            some = [waiting.pop() for _ in range(min(free, len(waiting), max(1, _TOKENS[prefix.device.type] // width)))]
            new = [_Answer(i, width - len(rests[i]), len(rests[i])) for i in some]
            own.aim(slice(len(active), len(active) + len(new)), torch.arange(width).expand(len(new), width))
            logits = prefix.read(plain_rows([rests[i] for i in some], prefix), own)
        else:
            new, active = active, []
            slots = torch.tensor([[answer.slot] for answer in new])
            own.aim(slice(0, len(new)), slots)
            logits = prefix.read(_next_tokens(prefix, new, own.seen), own)
        for answer, token in zip(new, logits[:, -1].argmax(-1).tolist(), strict=True):
            answer.ids.append(token)
        active += new
        for row in reversed(range(len(active))):
            if active[row].ended(most, end):
                yield active[row].index, active[row].ids
                last = active.pop()
                if row < len(active):
                    own.move(len(active), row)
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
    """What transformers generates, in batches of similar length; a batch has one length where padding would disturb."""
    sizes = {i: len(prompts[i]) for i in left}
    some: list[int] = []
    for i in sorted(left, key=lambda i: sizes[i], reverse=True):
        if some and (len(some) == rows or (sizes[i] < sizes[some[0]] and not _can_be_padded(model))):
            yield from _generate_batch(model, encoder, prompts, some, most)
            some = []
        some.append(i)
    yield from _generate_batch(model, encoder, prompts, some, most)


def _can_be_padded(model: Any) -> bool:
    """Whether rows of a batch may differ in length: a soft prompt stands before the padding, which would shift it."""
    return not has_learned_prompt(model) or hasattr(model.active_peft_config, "prefix_projection")


def _generate_batch(
    model: Any, encoder: Encoder, prompts: Sequence[Sequence[int]], some: Sequence[int], most: int
) -> Iterator[tuple[int, list[int]]]:
    padded = encoder.tokenizer.pad(
        {"input_ids": [list(prompts[i]) for i in some]}, padding_side="left", return_tensors="pt"
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
    said = out[:, padded["input_ids"].shape[1] :].tolist()
    yield from zip(some, (_until(row, encoder.end_of_turn) for row in said), strict=True)


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

    end_of_turn: the token after which the answer is over; None for an answer of exactly `most` tokens. prefix: what a
    server has read before the request comes; None where it reads the whole prompt.
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
    """The same, where what the prompt begins with has been read."""
    rest = prefix.rest(prompt)
    own, answer = prefix.own(1, len(rest) + most), _Answer(0, 0, len(rest))
    own.aim(slice(0, 1), torch.arange(len(rest))[None])
    logits = prefix.read(plain_rows([rest], prefix), own)
    while True:
        answer.ids.append((yield logits[0, -1]))
        own.aim(slice(0, 1), torch.tensor([[answer.slot]]))
        logits = prefix.read(_next_tokens(prefix, [answer], own.seen), own)


def _pick(scores: torch.Tensor, so_far: list[int], choices: Sequence[Sequence[int]]) -> int:
    if not choices:
        return int(scores.argmax())
    allowed = sorted({c[len(so_far)] for c in choices if list(c[: len(so_far)]) == so_far and len(c) > len(so_far)})
    return allowed[int(scores[allowed].argmax())]


def _until(ids: Sequence[int], end: int | None) -> list[int]:
    """Ids up to the end of the turn, which is kept."""
    kept = list(ids)
    return kept[: kept.index(end) + 1] if end in kept else kept
