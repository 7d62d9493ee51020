"""The common prompt prefix, prefilled once; many rows of tokens then continue from it in one batch.

    prefix = SharedPrefix.of(model, prompts)        # None where the model's attention cannot be split
    with prefix.reading():
        logits = prefix.read(rows, places)          # b rows of n tokens, each after the prefix

Single tokens that follow a prefix attend in two parts, to the prefix (whose keys and values stand in memory once,
however many rows there are) and to the row's own tokens, and the two are joined by their sums of weights (Juravsky et
al. 2024, Hydragen). It is the softmax over all of them, exact but for rounding. Where many tokens of a row are read at
once, the prefix is copied before them, which costs less than keeping every score. A learned prefix or soft prompt is a
part of the prefix.

Whether a model can be read this way is not guessed from its name: a few tokens are read both ways first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicLayer

from harness.inference.cache_room import layers_token_bytes
from harness.measurement.out_of_memory import is_out_of_memory

_NAME = "harness_shared_prefix"
_PROBED = 6  # tokens
_COPIES = 16
"""A prefix is copied before the tokens of each row if it is at most so many times as long as they are."""

_cache: ContextVar[_RowsCache] = ContextVar("cache")
_known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
# whether a model can be read in two parts


@dataclass(frozen=True)
class Rows:
    """The input of one forward pass after the prefix; all tensors on the model's device.

    tokens, depths: shape (rows, tokens); depths count from the end of the prefix. mask: to add to scores, shape
    (rows, 1, tokens, what the rows have seen of their own, these tokens included).
    """

    tokens: torch.Tensor
    depths: torch.Tensor
    mask: torch.Tensor


class SharedPrefix:
    """A model with the common prefix of some prompts in its cache."""

    def __init__(self, model: Any, ids: Sequence[int], layers: Sequence[DynamicLayer]) -> None:
        self.ids = tuple(ids)
        self.length: int = layers[0].get_seq_length()
        # of the cache: the ids, and a learned prefix if there is one
        self._model = model
        self._layers = layers

    @classmethod
    @torch.inference_mode()
    def of(cls, model: Any, prompts: Sequence[Sequence[int]]) -> SharedPrefix | None:
        """The common prefix of some prompts, prefilled; None if it is empty or the attention cannot be split."""
        ids = common_prefix(prompts)
        return cls._after(model, ids) if ids and _splits(model, prompts[0]) else None

    @classmethod
    def _after(cls, model: Any, ids: Sequence[int]) -> SharedPrefix | None:
        layers = getattr(getattr(read(model, ids), "past_key_values", None), "layers", ())
        if not layers or not all(type(layer) is DynamicLayer for layer in layers):
            return None
        return cls(model, ids, layers)

    @property
    def device(self) -> torch.device:
        return self._layers[0].keys.device

    @property
    def dtype(self) -> torch.dtype:
        return self._layers[0].keys.dtype

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        return layers_token_bytes(self._layers)

    def rest(self, prompt: Sequence[int]) -> list[int]:
        """A prompt's own tokens."""
        return list(prompt[len(self.ids) :])

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """While this lasts, the model's attention sees the prefix and a row's own tokens, and `read` may be called."""
        bare = self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model
        before = bare.config._attn_implementation
        bare.set_attn_implementation(_NAME)
        try:
            yield
        finally:
            bare.set_attn_implementation(before)

    def read(self, rows: Rows, own: Own | None = None, logits: int = 1) -> torch.Tensor:
        """Read rows after the prefix; logits of the last so many columns, shape (rows, columns, vocabulary).

        own: where the rows' keys and values are kept and what they have seen before; None to forget them.
        """
        cache = _RowsCache(self._layers, own)
        token = _cache.set(cache)
        try:
            out: torch.Tensor = decoder(self._model)(
                input_ids=rows.tokens,
                attention_mask=rows.mask,
                position_ids=rows.depths + self.length,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=logits,
            ).logits
        finally:
            _cache.reset(token)
        return out

    def own(self, rows: int, room: int) -> Own:
        """Room for the keys and values of so many rows of at most so many tokens each."""
        return Own(self._layers, rows, room)


def _splits(model: Any, prompt: Sequence[int]) -> bool:
    """Whether short rows read after a prefix give the logits that they give in one sequence with it."""
    if model not in _known:
        ids = (list(prompt) * _PROBED)[: 2 * _PROBED]
        _known[model] = _agree(model, ids[:_PROBED], [ids[_PROBED:], ids[: _PROBED - 1]])
    return _known[model]


def _agree(model: Any, prefix_ids: Sequence[int], rows: Sequence[Sequence[int]]) -> bool:
    try:
        prefix = SharedPrefix._after(model, prefix_ids)
        if prefix is None:
            return False
        with prefix.reading():
            logits = prefix.read(plain_rows(rows, prefix), logits=1)[:, -1]
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as cause:  # attention of its own kind
        if is_out_of_memory(cause):
            raise
        print(f"prompts share no prefix: {type(cause).__name__}: {cause}", flush=True)
        return False
    return same(logits, torch.stack([read(model, [*prefix_ids, *row]).logits[0, -1] for row in rows]))


class Own:
    """The keys and values of rows that follow a prefix: a buffer for each layer, filled from its first slot on.

    `window` says which rows are read next and `slots`, of shape (rows, tokens), where their tokens are put.
    """

    def __init__(self, layers: Sequence[DynamicLayer], rows: int, room: int) -> None:
        self.buffers = [
            tuple(like.new_zeros(rows, like.shape[1], room, like.shape[3]) for like in (layer.keys, layer.values))
            for layer in layers
        ]
        self.window = slice(0, rows)
        self.rows = self.slots = torch.zeros(0, dtype=torch.long)
        self.seen = 0
        # slots in use in the longest row of the window, the next tokens' included

    def aim(self, window: slice, slots: torch.Tensor) -> None:
        """What is read next: these rows' tokens, into these slots, which are given on the CPU.

        The indices are moved to the buffers' device here, once, not in each layer.
        """
        device = self.buffers[0][0].device
        self.window, self.seen = window, int(slots.max()) + 1
        self.slots = slots.to(device)
        self.rows = torch.arange(slots.shape[0], device=device)[:, None]

    def move(self, source: int, target: int) -> None:
        """Put one row's keys and values in another's place."""
        for buffers in self.buffers:
            for buffer in buffers:
                buffer[target] = buffer[source]

    def add(self, layer: int, states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Store a layer's keys and values of the new tokens; returns all that the rows in the window have so far."""
        kept = []
        for buffer, state in zip(self.buffers[layer], states, strict=True):
            window = buffer[self.window]
            window.transpose(1, 2)[self.rows, self.slots] = state.transpose(1, 2).to(buffer.dtype)
            kept.append(window[:, :, : self.seen])
        return kept


class _RowsCache(Cache):
    """The cache for transformers: `update` returns the rows' own keys, and `_attend` finds the prefix in `layers`."""

    def __init__(self, prefix: Sequence[DynamicLayer], own: Own | None) -> None:
        super().__init__(layers=list(prefix))
        self.own = own

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.own is None:
            return key_states, value_states
        keys, values = self.own.add(layer_idx, (key_states, value_states))
        return keys, values


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of (rows, heads, tokens, width) queries to the prefix and to the rows' own keys."""
    prefix = _cache.get().layers[module.layer_idx]
    length = prefix.keys.shape[2]
    if query.shape[2] > 1 and length <= _COPIES * key.shape[2]:
        keys, values = (
            torch.cat([shared.expand(own.shape[0], -1, -1, -1), own], dim=2)
            for shared, own in ((prefix.keys, key), (prefix.values, value))
        )
        mask = torch.nn.functional.pad(attention_mask, (length, 0))
        attended = _grouped_attention(query, keys, values, mask, scaling, query.device.type)
        return attended.transpose(1, 2).contiguous(), None
    return _attend_in_parts(query, key, value, attention_mask, scaling, prefix), None


def _grouped_attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    device_type: str,
) -> torch.Tensor:
    """Attention where several query heads share one key and value head.

    On CUDA the keys and values are repeated for each query head: given a mask and `enable_gqa`, torch may fall back to
    its unfused kernel, which stores every score in single precision.
    """
    grouped = device_type != "cuda"
    if not grouped:
        repeats = query.shape[1] // keys.shape[1]
        keys, values = (heads.repeat_interleave(repeats, dim=1) for heads in (keys, values))
    return torch.nn.functional.scaled_dot_product_attention(
        query, keys, values, mask, scale=scaling, enable_gqa=grouped
    )


def _attend_in_parts(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None,
    prefix: Any,
) -> torch.Tensor:
    """The same, to the prefix and to the own keys separately, then joined; shape (rows, tokens, heads, width)."""
    rows, heads, tokens, width = query.shape
    shared = key.shape[1]  # heads that the keys have: a group of queries shares one
    grouped = (at_least_single(query) * (width**-0.5 if scaling is None else scaling)).reshape(rows, shared, -1, width)
    flat = grouped.transpose(0, 1).reshape(shared, -1, width)
    mask = attention_mask.expand(rows, heads, tokens, -1).reshape(rows, shared, grouped.shape[2], -1)
    parts = [
        _part(flat, prefix.keys[0], prefix.values[0], None),
        _part(grouped, key, value, mask),
    ]
    shapes = (shared, rows, -1)
    of_prefix = [part.view(*shapes, part.shape[-1]).transpose(0, 1) for part in parts[0]]
    (prefix_sum, prefix_total, prefix_highest), (own_sum, own_total, own_highest) = of_prefix, parts[1]
    top = torch.maximum(prefix_highest, own_highest)
    weight, own_weight = (prefix_highest - top).exp(), (own_highest - top).exp()
    joined = (prefix_sum * weight + own_sum * own_weight) / (prefix_total * weight + own_total * own_weight)
    return joined.to(query.dtype).reshape(rows, heads, tokens, -1).transpose(1, 2).contiguous()


def _part(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One part of a softmax, never in half precision: the values' weighted sum, the weights' sum, the highest score."""
    with torch.autocast(query.device.type, enabled=False):
        scores = at_least_single(query) @ at_least_single(key).transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    highest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(highest).exp_()
    return at_least_single(weights.to(value.dtype) @ value), weights.sum(-1, keepdim=True), highest


def at_least_single(tensor: torch.Tensor) -> torch.Tensor:
    """Convert half precision to single, which sums of many terms need."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


AttentionInterface.register(_NAME, _attend)


def same(logits: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether logits computed in two ways agree but for rounding, relative to their standard deviation."""
    rounding = 1e-3 if logits.dtype in (torch.float32, torch.float64) else 0.25
    furthest, spread = (logits.float() - expected.float()).abs().max(), expected.float().std()
    return bool(furthest <= rounding * spread)


def common_prefix(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The tokens that all prompts begin with; at least one token of each prompt is its own."""
    if not prompts:
        return []
    first, last = min(map(list, prompts)), max(map(list, prompts))  # in lexical order: what these two share, all share
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: max(0, min(shared, min(map(len, prompts)) - 1))]


def plain_rows(rows: Sequence[Sequence[int]], prefix: SharedPrefix) -> Rows:
    """Rows of one after the other token, padded on the left; a row that is shorter sees nothing of its padding."""
    longest = max(map(len, rows))
    tokens, depths = (torch.zeros(len(rows), longest, dtype=torch.long) for _ in range(2))
    seen = torch.eye(longest, dtype=torch.bool).repeat(len(rows), 1, 1)
    for i, row in enumerate(rows):
        tokens[i, longest - len(row) :] = torch.tensor(row)
        depths[i, longest - len(row) :] = torch.arange(len(row))
        seen[i, longest - len(row) :, longest - len(row) :] = torch.ones(len(row), len(row)).tril().bool()
    return Rows(tokens.to(prefix.device), depths.to(prefix.device), additive(seen, prefix))


def additive(seen: torch.Tensor, prefix: SharedPrefix) -> torch.Tensor:
    """A mask to add to scores, shape (rows, 1, tokens, seen), from what each token sees."""
    hidden = ~seen.to(prefix.device)  # moved as booleans, the smaller tensor
    mask = torch.zeros(seen.shape, dtype=prefix.dtype, device=prefix.device)
    return mask.masked_fill_(hidden, torch.finfo(prefix.dtype).min)[:, None]


def read(model: Any, ids: Sequence[int]) -> Any:
    """Read one sequence the plain way, keeping its cache; logits at the last position only."""
    tokens = torch.tensor([list(ids)], device=model.device)
    return model(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=True, logits_to_keep=1)


def decoder(model: Any) -> Any:
    """The model that reads on from a cache: a learned prefix or soft prompt is in the cache already."""
    return model.base_model if has_learned_prompt(model) else model


def has_learned_prompt(model: Any) -> bool:
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))
