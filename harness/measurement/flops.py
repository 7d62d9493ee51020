"""Floating-point operations of training and inference, by an analytical count.

Forward, a matrix of n numbers costs 2 n operations per token; attention costs 4 x (tokens seen) x width per token and
layer, and a causal row sees half of its length on average (Kaplan et al. 2020, section 2.1, with the attention term).
Backward, the gradient of the inputs costs as much again for every layer, and the gradient of the weights as much again
if they are trained. So full fine-tuning costs three times the forward pass and an adapter on a frozen base about twice.
Gradient checkpointing costs one more forward pass without the head (torch also skips a layer's last product, which is
counted here). Normalisation, activation functions and the optimizer are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Matrices:
    """How many numbers are in the matrices that every token is multiplied with."""

    frozen: int
    trained: int
    head: int
    """Those that compute logits, for answer tokens only; not recomputed under gradient checkpointing."""
    trains_head: bool
    attention_width: int
    """Width of the queries, summed over layers."""

    @classmethod
    def of(cls, model: Any) -> Matrices:
        """Counts the linear layers of a model; a packed 4-bit weight counts as the numbers in it."""
        frozen = trained = 0
        for module in model.modules():
            if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
                weight = module.weight
                packed = weight.dtype.itemsize == 1
                numbers = module.in_features * module.out_features if packed else weight.numel()
                if weight.requires_grad:
                    trained += numbers
                else:
                    frozen += numbers
        config = model.config.get_text_config()
        query = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        head = getattr(model.get_output_embeddings(), "weight", None)
        numbers, trains = (0, False) if head is None else (head.numel(), head.requires_grad)
        return cls(frozen, trained, numbers, trains, config.num_hidden_layers * config.num_attention_heads * query)

    def read(self, tokens: float, pairs: float) -> float:
        """Operations to read `tokens` with attention over `pairs` of them."""
        return 2 * (self.frozen + self.trained) * tokens + 4 * self.attention_width * pairs

    def forward(self, tokens: float, row: float) -> float:
        """Operations to read `tokens` in rows of `row` tokens each."""
        return self.read(tokens, tokens * row / 2)

    def training(self, tokens: float, learned: float, row: float, checkpointing: bool) -> float:
        """Operations of training steps on `tokens` in rows of `row` tokens, `learned` of which are predicted."""
        head = 2 * self.head * learned
        layers = self.forward(tokens, row) - 2 * self.head * tokens
        gradient = 2 * (self.trained - self.head * self.trains_head) * tokens + head * self.trains_head
        return 2 * (layers + head) + (layers if checkpointing else 0) + gradient
