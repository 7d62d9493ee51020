"""The parts of a run's identity that are not settings, and redaction of secrets."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness import RESULTS_VERSION
from harness.contexts.context_settings import KNOBS
from harness.measurement import matmul
from harness.measurement.machine import device_kind

OUTCOME_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")
_SECRETS = ("token", "password", "secret", "api_key")
REDACTED = "***"


def environment_identity() -> dict[str, str | int]:
    """What can change a result besides the settings: versions and the kind of device."""
    versions = {name: importlib.metadata.version(name) for name in OUTCOME_PACKAGES}
    device = device_kind()
    return {
        **versions,
        "results": RESULTS_VERSION,
        "device": f"cpu, {matmul.chosen()}" if device == "cpu" else device,
    }


def fingerprint(folder: str | None) -> list[Any]:
    """What tells one state of a local model's folder from another: names, sizes and times of its files."""
    if not folder:
        return []
    files = sorted(Path(folder).glob("*"))
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]


def used(context: Mapping[str, Any]) -> dict[str, object]:
    """A context's own settings."""
    return {name: value for name, value in context.items() if name in ("name", *KNOBS.get(context["name"], ()))}


def without(values: Mapping[str, Any], *names: str) -> dict[str, object]:
    return {name: value for name, value in values.items() if name not in names}


def short_hash(value: Any, length: int) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def redacted_overrides(words: Iterable[str]) -> list[str]:
    """Hydra's overrides without values whose name sounds secret."""
    split = [word.partition("=") for word in words]
    return [name + equals + (value if _is_public(name, value) else REDACTED) for name, equals, value in split]


def _is_public(name: str, value: str) -> bool:
    """Whether neither a name nor one inside the value sounds secret. Hydra writes `{secret:x}`, text to YAML."""
    return all(redact(read) == read for read in (_read(name, value), _read(name, re.sub(r":(?=\S)", ": ", value))))


def _read(name: str, value: str) -> dict[str, object]:
    try:
        return {name: yaml.safe_load(value)}
    except yaml.YAMLError:
        return {name: value}


def redact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: REDACTED
            if part and isinstance(part, str) and any(s in name.lower() for s in _SECRETS)
            else redact(part)
            for name, part in value.items()
        }
    return [redact(part) for part in value] if isinstance(value, list) else value
