"""A process that gets ready while the one that starts it finds out whether it is needed.

>>> with start("harness.report.making:prepared") as helper:
...     chapter = helper.ask(order)
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from os import cpu_count
from typing import Any


class Failed(Exception):
    """The helper has ended without an answer."""


class Helper:
    """What answers questions, one at a time; both are pickled."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def ask(self, question: object) -> Any:
        """The answer; Failed where there will be none: who asks can try itself and meet the mistake."""
        try:
            self._pipe.send(question)
            return self._pipe.recv()
        except (EOFError, OSError) as cause:
            raise Failed from cause


@contextmanager
def start(ready: str) -> Iterator[Helper | None]:
    """A helper until the block ends; None on a single core, where nothing is won.

    `ready`: module:function, called in the helper, that loads what answering takes and returns what answers.
    """
    if (cpu_count() or 1) == 1:
        yield None
        return
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, ready), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Helper(ours)
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, ready: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the business of who asks
    module, name = ready.split(":")
    with suppress(Exception):
        answer = getattr(import_module(module), name)()
        while True:
            pipe.send(answer(pipe.recv()))
