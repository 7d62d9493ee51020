"""Costs of a method as numbers: set-up, training, building an index, and a month of requests."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records.record import Inference, Record

REQUESTS = 1000  # used if the user gives no number
ALIKE = 0.1  # latencies that differ by less count as equal: the latency margin of `harness check`
CLOSE = 0.8  # above this ratio of two request times, N is accurate to one digit at most
_HOUR = 3600


@dataclass(frozen=True)
class Prices:
    """The machine's price per hour, and the number of requests."""

    hour: float | None = None
    requests_per_month: float | None = None


def set_up_seconds(record: Record) -> float | None:
    """Seconds before the first request; 0 for a prompt, None if the training time is unknown."""
    training = training_seconds(record)
    return None if training is None else training + index_seconds(record)


def training_seconds(record: Record) -> float | None:
    """Seconds of training and of its learning-rate search; 0 if nothing is trained, None if unknown."""
    if not record.training:
        return 0.0
    seconds = record.training.seconds
    return None if seconds is None else seconds + (record.training.tuning_seconds or 0.0)


def index_seconds(record: Record) -> float:
    """Seconds of building the index; 0 without one."""
    return (record.retrieval and record.retrieval.index_seconds) or 0.0


def request_seconds(record: Record) -> float | None:
    """Mean seconds of one request, with the adapter merged if that was measured."""
    inference = record.inference or Inference()
    merged = inference.merged and inference.merged.latency_ms
    latency = merged or inference.latency_ms
    milliseconds = latency and latency.mean
    return None if milliseconds is None else milliseconds / 1000


def total(record: Record, prices: Prices) -> float | None:
    """Cost of set-up and a month's requests (REQUESTS if no number is given): seconds, or money if there is a price."""
    each, set_up = request_seconds(record), set_up_seconds(record)
    if each is None or set_up is None:
        return None
    seconds = set_up + each * (prices.requests_per_month or REQUESTS)
    return seconds if prices.hour is None else seconds / _HOUR * prices.hour
