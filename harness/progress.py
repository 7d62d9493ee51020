"""Progress of long steps with an ETA: one line that is rewritten on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_QUIET_SECONDS = 15.0
_REDRAW_SECONDS = 0.25


@dataclass
class Progress:
    """`progress.step("training", 3, 12)` shows how far a step is and how long it still takes."""

    title: str = ""
    show: Callable[[str], None] | None = None
    """Who draws it instead, as a sweep does for its runs."""
    interactive: bool = field(default_factory=lambda: bool(sys.stdout and sys.stdout.isatty()))
    _label: str = ""
    _began: float = 0.0
    _shown: float = 0.0

    def step(self, label: str, done: int, total: int) -> None:
        """Show that `done` of `total` parts of a step are done; speaks at most every 15 s if nobody watches."""
        now = time.monotonic()
        new = label != self._label
        if new:
            self._label, self._began, self._shown = label, now, now
        if now - self._shown < self._pause() and not (new and self.show):
            return
        self._shown = now
        left = f", about {spoken((now - self._began) / done * (total - done))} left" if 0 < done < total else ""
        text = f"{label} {done}/{total}{left}" if total else label
        if self.show:
            self.show(text)
        elif self.interactive:
            print(f"\r\x1b[2K{f'{self.title}  {text}'[:118]}", end="", flush=True)
        else:
            print(f"{self.title}  {text}", flush=True)

    def _pause(self) -> float:
        if self.show:
            return _REDRAW_SECONDS
        return 0.0 if self.interactive else _QUIET_SECONDS

    def labelled(self, label: str) -> Callable[[int, int], None]:
        """`step` for one step."""
        return lambda done, total: self.step(label, done, total)

    def clear(self) -> None:
        """Clear the progress line before other output."""
        if self.interactive and not self.show:
            print("\r\x1b[2K", end="", flush=True)


def spoken(seconds: float) -> str:
    """`8 s`, `2 min`, `1 h 10 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
