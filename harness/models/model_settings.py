"""Typed settings of the base model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class ModelSettings:
    """Which base model, and its source (conf/model/)."""

    name: str
    source: Literal["hub", "local", "gguf_package", "random"]
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "float32"
    """Of weights and arithmetic; `auto` is resolved when a run is composed (harness/settings/precision.py)."""
    id: str | None = None
    """ORG/NAME on the hub."""
    revision: str | None = None
    """A branch, tag or commit on the hub."""
    path: str | None = None
    """The folder, if the source is local."""
    package: str | None = None
    """The package that contains the GGUF file."""
    package_version: str | None = None
    shape: Mapping[str, Any] | None = None
    """The fields of the transformers configuration, if the source is random."""

    @property
    def is_shape(self) -> bool:
        """Whether it has the shape of a known model (conf/model/shape-*.yaml), to learn what that one needs."""
        return self.source == "random" and self.name.startswith("shape-")
