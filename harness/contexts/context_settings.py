"""Typed settings of a context."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

from harness.errors import UserError

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Retriever = Literal["dense", "bm25", "hybrid"]
IndexKind = Literal["exact", "hnsw", "ivf"]
KNOBS: dict[str, tuple[str, ...]] = {
    "zero_shot": (),
    "instructed": (),
    "few_shot": ("k", "selector", "balanced", "embedder"),
    "rag": ("k", "embedder", "retriever", "index", "chunk"),
    "oracle": (),
}
"""Every context and the settings it uses. Others have no effect, so a sweep over several contexts may set them."""


@dataclass(frozen=True)
class Chunks:
    """How documents are cut into passages before indexing."""

    tokens: Positive | None = None
    """Embedder tokens in a passage; None: documents are not cut."""
    overlap: Count = 0
    """Tokens that a passage repeats from the end of the previous one."""


@dataclass(frozen=True)
class ContextSettings:
    """Which context, and its settings (conf/context/)."""

    name: Literal[tuple(KNOBS)]  # type: ignore[valid-type]
    k: Positive | None = None
    """Demonstrations of few_shot, passages of rag; None for the other contexts."""
    selector: Literal["random", "nearest"] = "random"
    """How demonstrations are chosen."""
    balanced: bool = True
    """Whether random demonstrations of a choice task alternate between labels."""
    embedder: str = "all-minilm-l6-v2"
    retriever: Retriever = "dense"
    index: IndexKind = "exact"
    chunk: Chunks = field(default_factory=Chunks)

    @property
    def required_k(self) -> int:
        """`k`, for a context that needs it; UserError if it is not set."""
        if self.k is None:
            raise UserError(f"context.k=null: context={self.name} needs a number.")
        return self.k
