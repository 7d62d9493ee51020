"""Sizes and times as people type them.

>>> memory("--max-memory", "1.5GiB"), seconds("--max-latency", "200ms")
(1610612736.0, 0.2)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.errors import UserError

MIB = 2**20
BYTES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SECONDS = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}
_TOTAL = {"24 GB": 24564, "40 GB": 40536, "48 GB": 49140, "80 GB": 81559, "141 GB": 143771}
# MiB that the driver reports of an RTX 4090, A100, RTX A6000, H100 and H200
_RESERVE = 0.02  # share that the driver may keep for itself: torch sees 23.6 of a 4090's 24.0 GiB
GPUS = {name: round(size * (1 - _RESERVE)) for name, size in _TOTAL.items()}
"""MiB that processes can use of common GPUs."""


def memory(option: str, text: str) -> float:
    """Bytes. `24GB` and other sizes of common GPUs are what can be used of them; UserError if it is no size."""
    number, unit = _split(option, text, BYTES)
    if unit == "GB" and (card := GPUS.get(f"{number:g} GB")):
        return card * MIB
    return number * BYTES[unit]


def seconds(option: str, text: str) -> float:
    """`200ms` in seconds; UserError if it is no time."""
    number, unit = _split(option, text, SECONDS)
    return number * SECONDS[unit]


def _split(option: str, text: str, units: Mapping[str, float]) -> tuple[float, str]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([A-Za-z]+)\s*", text)
    unit = next((u for u in units if match and u.lower() == match[2].lower()), None)
    if match is None or unit is None:
        raise UserError(f"{option} {text}: expected a number with one of {', '.join(units)}.")
    return float(match[1]), unit
