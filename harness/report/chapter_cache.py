"""Chapters from the cache, or newly written: a few in this process, many in one process per core."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import msgspec

from harness.records.index import keep
from harness.report.chapters import Chapter, Order, write

FEW = 6
"""Chapters that are written one after the other: processes of their own take seconds to start."""
Step = Callable[[int, int], None]
"""Called with how many of how many chapters are done."""


def make(orders: Sequence[Order], cache: Path, step: Step) -> list[Chapter]:
    """The chapters in their order, from the cache if it has them; what else it has is dropped."""
    folder = cache / "chapters"
    paths = [folder / f"{order.name}.json" for order in orders]
    known = {path: chapter for path in paths if (chapter := _read(path))}
    missing = [(order, path) for order, path in zip(orders, paths, strict=True) if path not in known]
    written = _written([order for order, _ in missing])
    if missing:
        step(0, len(missing))
    for done, ((_, path), chapter) in enumerate(zip(missing, written, strict=True), start=1):
        known[path] = chapter
        keep(path, chapter)
        step(done, len(missing))
    for path in folder.glob("*.json"):
        if path not in known:
            path.unlink(missing_ok=True)
    return [known[path] for path in paths]


def _read(path: Path) -> Chapter | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Chapter)
    except (OSError, msgspec.MsgspecError):
        return None


def _written(orders: Sequence[Order]) -> Iterator[Chapter]:
    workers = min(os.cpu_count() or 1, len(orders))
    if len(orders) <= FEW or workers == 1:
        yield from map(write, orders)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        with _spawning_safely():
            chapters = pool.map(write, orders)
        yield from chapters


@contextmanager
def _spawning_safely() -> Iterator[None]:
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
