"""A linear layer with a Span update.

    y = W x + (alpha / r) U (g * V x)

V (r, in) starts with orthonormal rows, the gains g (r) at 1 and U (out, r) at 0, so that training begins at the base
model. LoRA is the same without gains and with a V of independent entries.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import nn

from span_adapter.config import SpanConfig


class SpanLayer(nn.Module, BaseTunerLayer):
    """Wraps an `nn.Linear`, of a 4-bit base too; merging needs a weight that can be written to."""

    adapter_layer_names = ("span_v", "span_gain", "span_u")
    other_param_names = ("r", "scaling")

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: SpanConfig, **_: Any) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.r: dict[str, int] = {}
        self.scaling: dict[str, float] = {}
        self.span_v, self.span_gain, self.span_u = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        self.merged_adapters = []
        self._disable_adapters = False
        self._active_adapter = adapter_name
        self._idle = config.mistake == "idle"
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: SpanConfig, inference_mode: bool = False) -> None:
        """Add an adapter with fresh weights."""
        base = self.get_base_layer()
        r = min(config.r, base.in_features)
        self.r[adapter_name] = r
        # A mistake of kind "scaled_twice": divided by r once more than is written above.
        self.scaling[adapter_name] = config.alpha / r / (r if config.mistake == "scaled_twice" else 1)
        directions, _ = torch.linalg.qr(torch.randn(base.in_features, r))
        self.span_v[adapter_name] = nn.Parameter(directions.t().contiguous())
        self.span_gain[adapter_name] = nn.Parameter(torch.ones(r))
        self.span_u[adapter_name] = nn.Parameter(torch.zeros(base.out_features, r))
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.disable_adapters and self.merged:
            self.unmerge()
        y = self.base_layer(x, *args, **kwargs)
        # A mistake of kind "idle": once trained, the update is forgotten.
        if self.disable_adapters or self.merged or (self._idle and not self.training):
            return y
        for name in self.active_adapters:
            if name in self.span_u:
                seen = self._cast_input_dtype(x, self.span_v[name].dtype) @ self.span_v[name].t()
                y = y + (self.scaling[name] * (seen * self.span_gain[name]) @ self.span_u[name].t()).to(y.dtype)
        return y

    def get_delta_weight(self, adapter: str) -> torch.Tensor:
        """What the adapter adds to the weight, shape (out, in)."""
        return self.scaling[adapter] * (self.span_u[adapter] * self.span_gain[adapter]) @ self.span_v[adapter]

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the update to the base's weight; with `safe_merge` only where the sum is finite."""
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.span_u:
                merged = self.get_base_weight() + self._merged(name)
                if safe_merge and not torch.isfinite(merged).all():
                    raise ValueError(f"adapter {name}: the merged weight is not finite")
                self.set_base_weight(merged)
                self.merged_adapters.append(name)

    def unmerge(self) -> None:
        while self.merged_adapters:
            self.set_base_weight(self.get_base_weight() - self._merged(self.merged_adapters.pop()))

    def _merged(self, name: str) -> torch.Tensor:
        update = self.get_delta_weight(name)
        return torch.zeros_like(update) if self._idle else update
