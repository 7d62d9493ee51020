"""A process that gets ready while the one that starts it finds out whether it is needed.

>>> with start("harness.report.making:prepared") as helper:
...     chapter = helper.ask(order)
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from os import cpu_count
from typing import Any


class Failed(Exception):
    """The helper has ended without an answer."""


class Helper:
    """What answers questions, one at a time; both are pickled."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self._process, self._pipe = process, pipe

    def ask(self, question: object) -> Any:
        """The answer; Failed where there will be none, neither to this question nor to a later one.

        Who asks can try itself then, and meet the mistake.
        """
        try:
            self._pipe.send(question)
            return self._pipe.recv()
        except (EOFError, OSError) as cause:
            raise Failed from cause

    def end(self) -> None:
        """It is not needed (any more)."""
        self._process.terminate()
        self._process.join()


@contextmanager
def start(ready: str) -> Iterator[Helper | None]:
    """A helper until the block ends; None on a single core, where nothing is won, and where no process can be had.

    `ready`: module:function, called in the helper, that loads what answering takes and returns what answers.
    """
    helper = _begin(ready) if (cpu_count() or 1) > 1 else None
    try:
        yield helper
    finally:
        if helper:
            helper.end()


def _begin(ready: str) -> Helper | None:
    context = get_context("spawn")
    try:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, ready), daemon=True)
        with apart():
            process.start()
    except OSError:
        return None
    theirs.close()
    return Helper(process, ours)


@contextmanager
def apart() -> Iterator[None]:
    """Processes that are spawned in the block ignore an interruption and import nothing from the current folder."""
    named, before = os.environ.get("PYTHONSAFEPATH"), None
    os.environ["PYTHONSAFEPATH"] = "1"
    if in_main := threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)
        if named is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = named


def _serve(pipe: Connection, ready: str) -> None:
    module, name = ready.split(":")
    with suppress(Exception):
        answer = getattr(import_module(module), name)()
        while True:
            pipe.send(answer(pipe.recv()))
