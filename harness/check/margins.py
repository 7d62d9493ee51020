"""How much worse still counts as no worse, by metric and by resource.

    metrics: {accuracy: 0.02, token_f1: 0.03}       # of the metric's scale: 0.02 is two points of 100
    resources: {training_seconds: 0.10, latency_ms: 0.10, peak_memory: 0.05}       # a share: 0.10 is a tenth more

What the file leaves out keeps its default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UserError
from harness.tasks.metrics import HIGHER_IS_BETTER

QUALITY = 0.02
RESOURCES = {"training_seconds": 0.10, "latency_ms": 0.10, "peak_memory": 0.05}


@dataclass(frozen=True)
class Margins:
    metrics: dict[str, float] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=lambda: dict(RESOURCES))
    primary: float | None = None
    """Of whatever metric is primary, over the file's."""

    def of(self, metric: str) -> float:
        return self.primary if self.primary is not None else self.metrics.get(metric, QUALITY)


def read_margins(path: Path | None, primary: float | None = None) -> Margins:
    """Margins from a file, the defaults where it is silent; UserError with file and key where it is wrong."""
    if primary is not None and not 0 < primary < 1:
        raise UserError(f"--margin {primary:g}: a share between 0 and 1; 0.02 is two points.")
    parts = _sections(path) if path else {}
    metrics = _numbers(path, "metrics", parts.get("metrics"), set(HIGHER_IS_BETTER))
    resources = _numbers(path, "resources", parts.get("resources"), set(RESOURCES))
    return Margins(metrics, {**RESOURCES, **resources}, primary)


def _sections(path: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise UserError(f"{path}: cannot be read as YAML: {' '.join(str(cause).split())}") from cause
    if not isinstance(read, dict):
        raise UserError(f"{path}: expected the parts metrics and resources.")
    for name in read:
        if name not in ("metrics", "resources"):
            raise UserError(f"{path}: {name}: no such part; known are metrics and resources.")
    return read


def _numbers(path: Path | None, part: str, read: Any, known: set[str]) -> dict[str, float]:
    if read is None:
        return {}
    if not isinstance(read, dict):
        raise UserError(f"{path}: {part}: expected a name and a number on each line.")
    for name, value in read.items():
        if name not in known:
            raise UserError(f"{path}: {part}.{name}: not known; known are {', '.join(sorted(known))}.")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise UserError(f"{path}: {part}.{name}: {value!r}; expected a share between 0 and 1 (0.02 is two points).")
    return {str(name): float(value) for name, value in read.items()}
