"""How a model answers: choices by likelihood, text by greedy generation, and one request at a time for latency.

A choice's score is the sum of log p(choice tokens and end of turn | prompt). The prompt is read once; all choices share
its cache, and their tokens are read together as one tree: a node for each distinct beginning, which sees the prompt and
its own ancestors (the attention of SpecInfer, Miao et al. 2023, used for scoring). The scores are those of separate
sequences. What all prompts begin with (instructions, demonstrations, the chat template's own words) is read once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

from harness.measure import now
from harness.prompts import Encoder

Progress = Callable[[int, int], None]
_WORTH_SHARING = 4  # tokens


@dataclass(frozen=True)
class Decoded:
    """One request answered greedily, one token at a time."""

    ids: list[int]
    seconds: float
    first_token_seconds: float


@dataclass(frozen=True)
class Beginning:
    """What several prompts begin with, read once; a prompt goes on from its cache and is then cut off it again."""

    ids: tuple[int, ...]
    cache: Any
    length: int
    # of the cache: the ids, and a learned prefix where there is one

    def rest(self, prompt: Sequence[int]) -> list[int]:
        return list(prompt[len(self.ids) :])

    def clear(self) -> None:
        """Cut off what was read after the beginning."""
        if surplus := self.cache.get_seq_length() - self.length:
            self.cache.crop(-surplus)


@torch.inference_mode()
def shared_beginning(model: Any, prompts: Sequence[Sequence[int]]) -> Beginning | None:
    """The common beginning of some prompts; None where there is hardly one, or where a cache cannot be cut back."""
    if len(prompts) < 2:
        return None
    first, last = min(map(list, prompts)), max(map(list, prompts))  # in lexical order: what these two share, all share
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    shared = min(shared, min(map(len, prompts)) - 1)  # at least one token of each prompt is its own
    if shared < _WORTH_SHARING:
        return None
    cache = _read_prompt(model, first[:shared]).past_key_values
    if not all(type(layer) is DynamicLayer for layer in cache.layers):
        return None
    return Beginning(tuple(first[:shared]), cache, cache.get_seq_length())


@torch.inference_mode()
def score_choices(
    model: Any, prompt: Sequence[int], choices: Sequence[Sequence[int]], beginning: Beginning | None = None
) -> list[float]:
    """Log-likelihood of each choice after a prompt.

    prompt: token ids. choices: token ids of each choice, end of turn included. Returns one number a choice, in nats.
    """
    tree = _Tree.of(choices)
    read = _read_prompt(model, prompt, beginning)
    first = read.logits[0, -1].float().log_softmax(-1)
    if not tree.tokens:
        return [float(first[choice[0]]) for choice in choices]
    seen = read.past_key_values.get_seq_length()
    logits = _decoder(model)(
        input_ids=torch.tensor([tree.tokens], device=first.device),
        attention_mask=tree.mask(seen, read.logits.dtype).to(first.device),
        position_ids=torch.tensor([tree.depths], device=first.device) + seen,
        past_key_values=read.past_key_values,
    ).logits[0]
    following = logits.float().log_softmax(-1)
    return [
        float(first[choice[0]]) + sum(float(following[node, token]) for node, token in tree.path(choice))
        for choice in choices
    ]


@torch.inference_mode()
def generate(
    model: Any,
    encoder: Encoder,
    prompts: Sequence[list[int]],
    most: int,
    batch_size: int,
    progress: Progress,
    beginning: Beginning | None = None,
) -> list[list[int]]:
    """Greedy completions of at most `most` tokens, in the order of the prompts; batches of similar length."""
    completions: dict[int, list[int]] = {}
    for rows in _batches([len(prompt) for prompt in prompts], batch_size, padded=_can_be_padded(model)):
        answers = _generate_batch(model, encoder, [prompts[i] for i in rows], most, beginning)
        completions |= dict(zip(rows, answers, strict=True))
        progress(len(completions), len(prompts))
    return [completions[i] for i in range(len(prompts))]


def _batches(lengths: Sequence[int], size: int, *, padded: bool) -> list[list[int]]:
    """Indices in batches of at most `size`, longest first; without padding a batch has one length."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        if batches and len(batches[-1]) < size and (padded or lengths[batches[-1][0]] == lengths[i]):
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def _can_be_padded(model: Any) -> bool:
    """Whether rows of a batch may differ in length: a soft prompt stands before the padding, which would shift it."""
    return not _has_learned_prompt(model) or hasattr(model.active_peft_config, "prefix_projection")


def _has_learned_prompt(model: Any) -> bool:
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def _generate_batch(
    model: Any, encoder: Encoder, prompts: list[list[int]], most: int, beginning: Beginning | None
) -> list[list[int]]:
    if beginning is None or _has_learned_prompt(model):  # whose own generate puts the prompt before the ids
        shared: tuple[int, ...] = ()
        cache = None
    else:
        beginning.clear()
        shared, cache = beginning.ids, copy.deepcopy(beginning.cache)
        cache.batch_repeat_interleave(len(prompts))
    rests = [prompt[len(shared) :] for prompt in prompts]
    padded = encoder.tokenizer.pad({"input_ids": rests}, padding_side="left", return_tensors="pt")
    before = torch.tensor(shared, dtype=torch.long).expand(len(prompts), len(shared))
    ids = torch.cat([before, padded["input_ids"]], dim=1).to(model.device)
    mask = torch.cat([torch.ones_like(before), padded["attention_mask"]], dim=1).to(model.device)
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        past_key_values=cache,
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=encoder.end_of_turn,
        pad_token_id=encoder.tokenizer.pad_token_id,
    )
    return [_until(row, encoder.end_of_turn) for row in out[:, ids.shape[1] :].tolist()]


@torch.inference_mode()
def decode(
    model: Any, prompt: Sequence[int], end_of_turn: int | None, most: int, choices: Sequence[Sequence[int]] = ()
) -> Decoded:
    """Answer one request greedily, timed. With `choices`, only tokens that continue one of them are allowed.

    end_of_turn: the token after which the answer is over; None for an answer of exactly `most` tokens.
    """
    start = now()
    read = _read_prompt(model, prompt)
    ids = [_pick(read.logits, [], choices)]
    first_token = now()
    while ids[-1] != end_of_turn and len(ids) < (most if not choices else max(map(len, choices))):
        read = _decoder(model)(
            input_ids=torch.tensor([ids[-1:]], device=read.logits.device),
            past_key_values=read.past_key_values,
        )
        ids.append(_pick(read.logits, ids, choices))
    return Decoded(_until(ids, end_of_turn), now() - start, first_token - start)


@torch.inference_mode()
def last_logits(model: Any, prompt: Sequence[int]) -> torch.Tensor:
    """Logits of the first answer token; shape (vocabulary,)."""
    return _read_prompt(model, prompt).logits[0, -1].float()


def _read_prompt(model: Any, prompt: Sequence[int], beginning: Beginning | None = None) -> Any:
    """Read a prompt, keep its cache; logits at the last position only."""
    if beginning is not None:
        beginning.clear()
        rest = torch.tensor([beginning.rest(prompt)], device=model.device)
        return _decoder(model)(input_ids=rest, past_key_values=beginning.cache, use_cache=True, logits_to_keep=1)
    ids = torch.tensor([list(prompt)], device=model.device)
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True, logits_to_keep=1)


def _decoder(model: Any) -> Any:
    """The model that reads on from a cache: a learned prefix or soft prompt is in the cache already."""
    return model.base_model if _has_learned_prompt(model) else model


def _pick(logits: torch.Tensor, so_far: list[int], choices: Sequence[Sequence[int]]) -> int:
    scores = logits[0, -1]
    if not choices:
        return int(scores.argmax())
    allowed = sorted({c[len(so_far)] for c in choices if list(c[: len(so_far)]) == so_far and len(c) > len(so_far)})
    return allowed[int(scores[allowed].argmax())]


def _until(ids: Sequence[int], end: int | None) -> list[int]:
    """Ids up to the end of the turn, which is kept."""
    kept = list(ids)
    return kept[: kept.index(end) + 1] if end in kept else kept


@dataclass(frozen=True)
class _Tree:
    """The distinct beginnings of some sequences; a sequence's last token is predicted and never read."""

    tokens: list[int]
    parents: list[int]
    # index of the node before, -1 at the root
    depths: list[int]
    nodes: dict[tuple[int, ...], int]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> _Tree:
        tree = cls([], [], [], {})
        for sequence in sequences:
            for length in range(1, len(sequence)):
                tree._add(tuple(sequence[:length]))
        return tree

    def _add(self, beginning: tuple[int, ...]) -> None:
        if beginning not in self.nodes:
            self.nodes[beginning] = len(self.tokens)
            self.tokens.append(beginning[-1])
            self.parents.append(self.nodes.get(beginning[:-1], -1))
            self.depths.append(len(beginning) - 1)

    def mask(self, seen: int, dtype: torch.dtype) -> torch.Tensor:
        """Additive attention mask, shape (1, 1, nodes, seen + nodes): the prompt, the ancestors, itself."""
        n = len(self.tokens)
        visible = torch.zeros(n, n, dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                visible[node] = visible[parent]
            visible[node, node] = True
        visible = torch.cat([torch.ones(n, seen, dtype=torch.bool), visible], dim=1)
        return torch.zeros(n, seen + n, dtype=dtype).masked_fill_(~visible, torch.finfo(dtype).min)[None, None]

    def path(self, sequence: Sequence[int]) -> list[tuple[int, int]]:
        """(node, next token) along a sequence, after its first token."""
        return [(self.nodes[tuple(sequence[:i])], sequence[i]) for i in range(1, len(sequence))]
