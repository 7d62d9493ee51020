"""What a method costs as numbers: setting up, training, building an index, and a month of requests."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records.record import Inference, Record

REQUESTS = 1000  # that costs are shown for where no number is given
ALIKE = 0.1  # requests that differ by less may well take equally long: the margin of `harness check` for a latency
CLOSE = 0.8  # from this ratio of two requests on, N is sure to one digit at most
_HOUR = 3600


@dataclass(frozen=True)
class Prices:
    """What the machine costs by the hour, and how much it is asked."""

    hour: float | None = None
    requests_per_month: float | None = None


def set_up_seconds(record: Record) -> float | None:
    """Seconds before the first request; 0 for a prompt, None where a training's are not known."""
    training = training_seconds(record)
    return None if training is None else training + index_seconds(record)


def training_seconds(record: Record) -> float | None:
    """Seconds of training and of the search for its learning rate; 0 where nothing is trained, None if not known."""
    if not record.training:
        return 0.0
    seconds = record.training.seconds
    return None if seconds is None else seconds + (record.training.tuning_seconds or 0.0)


def index_seconds(record: Record) -> float:
    """Seconds of building an index; 0 without one."""
    return (record.retrieval and record.retrieval.index_seconds) or 0.0


def request_seconds(record: Record) -> float | None:
    """Mean seconds of one request, merged where that was measured."""
    inference = record.inference or Inference()
    merged = inference.merged and inference.merged.latency_ms
    timed = merged or inference.latency_ms
    milliseconds = timed and timed.mean
    return None if milliseconds is None else milliseconds / 1000


def total(record: Record, prices: Prices) -> float | None:
    """Set-up and a month's requests, or REQUESTS where none are given: seconds, or money where there is a price."""
    each, set_up = request_seconds(record), set_up_seconds(record)
    if each is None or set_up is None:
        return None
    seconds = set_up + each * (prices.requests_per_month or REQUESTS)
    return seconds if prices.hour is None else seconds / _HOUR * prices.hour
