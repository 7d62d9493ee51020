"""Non-inferiority margins: how much worse still counts as no worse, by metric and by resource.

    metrics: {accuracy: 0.02, token_f1: 0.03}       # of the metric's scale: 0.02 is two points of 100
    resources: {training_seconds: 0.10, latency_ms: 0.10, peak_memory: 0.05}       # a share: 0.10 is a tenth more

Entries missing from the file keep their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from harness.errors import UserError
from harness.tasks.metrics import HIGHER_IS_BETTER
from harness.typed import read_yaml, typed

QUALITY = 0.02
RESOURCES = {"training_seconds": 0.10, "latency_ms": 0.10, "peak_memory": 0.05}
Share = Annotated[float, msgspec.Meta(gt=0, lt=1, description="a share between 0 and 1 (0.02 is two points)")]


@dataclass(frozen=True)
class Margins:
    metrics: Mapping[str, float] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=lambda: dict(RESOURCES))
    primary: float | None = None
    """The primary metric's margin; overrides the file."""

    def of(self, metric: str) -> float:
        return self.primary if self.primary is not None else self.metrics.get(metric, QUALITY)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """A file of margins."""

    metrics: dict[Literal[tuple(HIGHER_IS_BETTER)], Share] | None = None  # type: ignore[valid-type]
    resources: dict[Literal[tuple(RESOURCES)], Share] | None = None  # type: ignore[valid-type]


def read_margins(path: Path | None, primary: float | None = None) -> Margins:
    """Margins from a file, with defaults for missing entries; UserError with file and key if a value is wrong."""
    if primary is not None and not 0 < primary < 1:
        raise UserError(f"--margin {primary:g}: expected a share between 0 and 1 (0.02 is two points).")
    file = typed(read_yaml(path), _File, f"{path}: ") if path else _File()
    return Margins(file.metrics or {}, {**RESOURCES, **(file.resources or {})}, primary)
