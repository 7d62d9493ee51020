"""How many tokens' keys and values may be held at once while text is generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

_TOKENS_ON_CPU = 2**14


def room(device: torch.device, token_bytes: int) -> int:
    """Tokens whose keys and values may be held at once on a device; those of a shared prefix are not counted.

    token_bytes: of the keys and values of one token. On a CPU the number is the same for every model.
    """
    return fitting(free_bytes(device), token_bytes) if device.type == "cuda" else _TOKENS_ON_CPU


def fitting(free: int, token_bytes: int) -> int:
    """Tokens that fit into half of the free bytes; the other half is for activations."""
    return free // 2 // token_bytes


def free_bytes(device: torch.device) -> int:
    """What a CUDA device can still allocate: the driver's free bytes, and those torch has reserved but not used."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def layers_token_bytes(layers: Sequence[DynamicLayer]) -> int:
    """Bytes of one token's keys and values in all layers of a cache."""
    states = [state for layer in layers for state in (layer.keys, layer.values)]
    return sum(state.shape[1] * state.shape[3] * state.element_size() for state in states)


def config_token_bytes(config: Any, element_size: int) -> int | None:
    """The same from a model's configuration; None if a field is missing, as in a model without attention."""

    def field(name: str) -> int:
        value = getattr(config, name, None)
        return value if isinstance(value, int) else 0

    heads = field("num_attention_heads")
    width = field("head_dim") or (field("hidden_size") // heads if heads else 0)
    kv_heads = field("num_key_value_heads") or heads
    return 2 * field("num_hidden_layers") * kv_heads * width * element_size or None
