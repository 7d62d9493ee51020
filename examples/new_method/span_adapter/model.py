"""The tuner that puts Span layers into a model."""

from __future__ import annotations

from typing import Any, ClassVar

from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from span_adapter.config import SpanConfig
from span_adapter.layer import SpanLayer


class SpanModel(BaseTuner):
    """A model whose targeted linear layers have a Span update."""

    prefix = "span_"
    tuner_layer_cls = SpanLayer
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def _create_and_replace(
        self,
        peft_config: SpanConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **_: Any,
    ) -> None:
        if isinstance(target, SpanLayer):
            target.update_layer(adapter_name, peft_config)
            return
        if not isinstance(target, nn.Linear):
            raise TypeError(f"{current_key}: {type(target).__name__} is no linear layer, which Span needs")
        layer = SpanLayer(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapter:
            layer.requires_grad_(False)  # a further adapter is not trained unless it is made active
        self._replace_module(parent, target_name, layer, target)
