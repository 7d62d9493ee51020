"""A clock for what is timed, so that no test depends on how fast the machine is."""

from __future__ import annotations


class Clock:
    """Reads seconds that pass only when a test lets them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
