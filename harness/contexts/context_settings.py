"""What goes into the prompt, typed."""

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
"""Every context and the settings that it uses; others may be set in a sweep over several and change nothing."""


@dataclass(frozen=True)
class Chunks:
    """How documents are cut before they are searched."""

    tokens: Positive | None = None
    """Of the embedder, in a passage; None: documents are not cut."""
    overlap: Count = 0
    """Tokens that a passage repeats of the one before."""


@dataclass(frozen=True)
class ContextSettings:
    """What goes into the prompt (conf/context/)."""

    name: Literal[tuple(KNOBS)]  # type: ignore[valid-type]
    k: Positive | None = None
    """Demonstrations of few_shot, passages of rag; None in a context that shows neither."""
    selector: Literal["random", "nearest"] = "random"
    """How demonstrations are chosen."""
    balanced: bool = True
    """Of random demonstrations of a choice, whether labels take turns."""
    embedder: str = "all-minilm-l6-v2"
    retriever: Retriever = "dense"
    index: IndexKind = "exact"
    chunk: Chunks = field(default_factory=Chunks)

    @property
    def shown(self) -> int:
        """How many demonstrations or passages; UserError if that is not set."""
        if self.k is None:
            raise UserError(f"context.k=null: context={self.name} needs a number.")
        return self.k
