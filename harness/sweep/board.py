"""A sweep as a terminal shows it, drawn in place: what is done, what runs now, how long it still takes.

✓ handbook_choice zero_shot       accuracy 0.28 (0.19 to 0.41), 8 s
▸ handbook_choice rag             answering test: scoring 24/60, about 4 s left
  handbook_choice full
1 of 3 done, about 50 s left; CPU: AMD EPYC, 2 cores
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.progress import spoken
from harness.sweep.time_left import Done, Pace, Planned

MARKS = {"ok": ("✓", "green"), "same": ("✓", "green"), "not applicable": ("–", "dim")}  # noqa: RUF001
FAILED = ("✗", "red")
FRAME = 4  # lines of a terminal that cells cannot have


@dataclass
class Line:
    """One cell on the board."""

    planned: Planned
    name: str
    status: str = ""
    """Empty while it waits, "runs", then its outcome."""
    text: str = ""


class Board:
    """The cells of a sweep in their order, and what is known of each."""

    def __init__(self, cells: Sequence[Planned], pace: Pace, device: str, console: Console | None = None) -> None:
        self.lines = [Line(cell, f"{cell.task} {cell.method}".strip()) for cell in cells]
        self._done: list[Done] = []
        self._pace, self._device, self._began = pace, device, time.monotonic()
        console = console or Console(highlight=False)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def start(self, number: int, name: str) -> None:
        """Mark a cell (counted from 0) as running."""
        line = self.lines[number]
        line.name, line.status, line.text = name, "runs", "starting"
        self._began = time.monotonic()
        self._live.start()
        self._draw()

    def now(self, text: str) -> None:
        """Show what the running cell does."""
        for line in self.lines:
            if line.status == "runs":
                line.text = text
        self._draw()

    def note(self, text: str) -> None:
        """Print a line above the board."""
        self._live.console.print(Text(text))

    def finish(self, number: int, name: str, status: str, text: str, seconds: float) -> None:
        line = self.lines[number]
        line.name, line.status, line.text = name, status, text if status in MARKS else f"{status}: {text}"
        if status not in ("same", "not applicable", "wrong configuration"):
            self._done.append(Done(line.planned, seconds))
        self._draw()

    def stop(self) -> None:
        """Stop drawing and leave the board on the terminal."""
        if self._live.is_started:
            self._live.stop()

    def _draw(self) -> None:
        self._live.update(self.render(self._live.console.height), refresh=True)

    def render(self, height: int) -> Text:
        """The lines that a terminal of a height has room for: the running cell, and as much around it as fits."""
        room = max(3, height - FRAME)
        at = next((i for i, line in enumerate(self.lines) if line.status in ("", "runs")), len(self.lines))
        first = max(0, min(at - room + 3, len(self.lines) - room))
        width = max(len(line.name) for line in self.lines)
        shown = [self._line(line, width) for line in self.lines[first : first + room]]
        return Text("\n", no_wrap=True, overflow="ellipsis").join([*shown, self._summary()])

    def _line(self, line: Line, width: int) -> Text:
        if line.status == "":
            return Text(f"  {line.name}", style="dim")
        mark, style = ("▸", "bold") if line.status == "runs" else MARKS.get(line.status, FAILED)
        return Text.assemble((f"{mark} ", style), f"{line.name:{width}}  ", (line.text, "bold" * (mark == "▸")))

    def _summary(self) -> Text:
        finished = sum(line.status not in ("", "runs") for line in self.lines)
        waiting = [line.planned for line in self.lines if line.status in ("", "runs")]
        seconds = self._pace.left(waiting, self._done) if waiting else None
        if seconds is not None and any(line.status == "runs" for line in self.lines):
            seconds = max(0.0, seconds - (time.monotonic() - self._began))
        left = f", about {spoken(seconds)} left" if seconds is not None else ""
        return Text(f"{finished} of {len(self.lines)} done{left}; {self._device}", style="bold")
