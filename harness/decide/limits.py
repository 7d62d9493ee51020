"""Limits on memory, latency and training, as typed on the command line, and which of them a method exceeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite
from typing import NamedTuple

from harness import quantities
from harness.errors import UserError
from harness.records import measures
from harness.records.costs import training_seconds
from harness.records.record import Record
from harness.text import short

CHANGES = {"never": 0.0, "yearly": 1 / 12, "monthly": 1.0, "weekly": 52 / 12, "daily": 365 / 12}
"""How often facts change, in changes per month."""
OFTEN = 1.0
"""From this many changes per month, facts do not belong in weights."""
_FROM_DOCUMENTS = ("rag", "oracle")


@dataclass(frozen=True)
class Limits:
    """None means no limit."""

    memory: float | None = None
    """Peak bytes over loading, training and answering."""
    latency: float | None = None
    """Median seconds of single requests."""
    training: float | None = None
    """Seconds, including the learning-rate search."""
    requests: float | None = None
    """Requests per month."""
    hour: float | None = None
    """The machine's price per hour."""
    changes: float = 0.0
    """Changes of the facts per month."""
    private: bool = False
    """Whether the content of rows and documents must stay out of weights."""

    @classmethod
    def typed(
        cls,
        *,
        max_memory: str | None = None,
        max_latency: str | None = None,
        max_training: str | None = None,
        requests_per_month: float | None = None,
        gpu_hour: float | None = None,
        facts_change: str = "never",
        private: bool = False,
    ) -> Limits:
        """Parse limits such as 24GB, 200ms, 2h, weekly; UserError with the option's name if one is invalid."""
        for option, value in (("--requests-per-month", requests_per_month), ("--gpu-hour", gpu_hour)):
            if value is not None and not isfinite(value):
                raise UserError(f"{option} {value}: expected a number.")
        return cls(
            memory=quantities.memory("--max-memory", max_memory) if max_memory else None,
            latency=quantities.seconds("--max-latency", max_latency) if max_latency else None,
            training=quantities.seconds("--max-training", max_training) if max_training else None,
            requests=requests_per_month,
            hour=gpu_hour,
            changes=frequency("--facts-change", facts_change),
            private=private,
        )

    def broken(self, record: Record) -> list[Broken]:
        """The limits that a method exceeds; an unknown figure exceeds its limit."""
        return list(self._broken(record))

    def _broken(self, record: Record) -> Iterator[Broken]:
        memory, latency = measures.peak_memory(record), median_seconds(record)
        training = training_seconds(record)
        if self.memory is not None and (memory is None or memory > self.memory):
            yield Broken.of(f"memory {as_bytes(memory)}", memory, self.memory)
        if self.latency is not None and (latency is None or latency > self.latency):
            yield Broken.of(f"latency {as_seconds(latency)}", latency, self.latency)
        if self.training is not None and record.training and (training is None or training > self.training):
            yield Broken.of(f"training {as_seconds(training)}", training, self.training)
        if self.changes >= OFTEN and learned_facts(record):
            yield Broken("facts that change are in its weights", inf)
        if self.private and record.training:
            yield Broken("private rows are in its weights", inf)


class Broken(NamedTuple):
    """A limit that a method exceeds."""

    need: str
    """What the method needs."""
    times: float
    """The need divided by the limit; infinite if no higher limit would help."""

    @classmethod
    def of(cls, need: str, value: float | None, limit: float) -> Broken:
        return cls(need, value / limit if value is not None and limit else inf)


def learned_facts(record: Record) -> bool:
    """Whether the method must be trained again when the task's facts change."""
    return record.probes == "knowledge" and record.training is not None and record.context not in _FROM_DOCUMENTS


def median_seconds(record: Record) -> float | None:
    """Median seconds of one request, with the adapter merged if that was measured."""
    merged = measures.merged_latency(record)
    milliseconds = measures.latency(record) if merged is None else merged
    return None if milliseconds is None else milliseconds / 1000


def frequency(option: str, text: str) -> float:
    """`weekly` as changes per month; UserError for an unknown word."""
    if text not in CHANGES:
        raise UserError(f"{option} {text}: expected one of {', '.join(CHANGES)}.")
    return CHANGES[text]


def as_bytes(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value / 2**30:.1f} GiB" if value >= 4 * 2**30 else f"{value / 2**20:,.0f} MiB"


def as_seconds(value: float | None) -> str:
    if value is None:
        return "unknown"
    if value < 1:
        return f"{1000 * value:.0f} ms"
    return f"{short(value)} s" if value < 3600 else f"{value / 3600:.1f} h"
