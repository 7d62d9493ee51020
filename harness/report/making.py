"""Chapters made: what is kept comes from the cache, a few are made by a helper, many by a process for each core."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path

import msgspec

from harness.records.index import keep
from harness.report.chapters import Chapter, Order, write
from harness.report.helper import Failed, Helper, apart

FEW = 6  # chapters that are made one after the other: processes of their own take seconds to start
OBJECTS = 100_000
"""Between two searches for garbage: many records are millions of objects, hardly one of them garbage."""
Step = Callable[[int, int], None]
"""Is told how many of how many chapters are made."""


def make(orders: Sequence[Order], kept: Path, helper: Helper | None, step: Step) -> list[Chapter]:
    """The chapters in their order, those from the cache that it has; what it has besides is dropped."""
    folder = kept / "chapters"
    paths = [folder / f"{order.name}.json" for order in orders]
    known = {path: chapter for path in paths if (chapter := _read(path))}
    missing = [(order, path) for order, path in zip(orders, paths, strict=True) if path not in known]
    written = _written([order for order, _ in missing], helper)
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


def prepared() -> Callable[[Order], Chapter]:
    """What writes a chapter, with everything loaded that this takes."""
    _load()
    return write


def _load() -> None:
    from scipy import special  # noqa: F401

    from harness.report import figures  # noqa: F401

    gc.set_threshold(OBJECTS)


def _read(path: Path) -> Chapter | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Chapter)
    except (OSError, msgspec.MsgspecError):
        return None


def _written(orders: Sequence[Order], helper: Helper | None) -> Iterator[Chapter]:
    workers = min(cpu_count() or 1, len(orders))
    if len(orders) <= FEW or workers == 1:
        yield from (_by(helper, order) for order in orders)
        return
    if helper:
        helper.end()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_load) as pool:
        with apart():
            chapters = pool.map(write, orders)
        yield from chapters


def _by(helper: Helper | None, order: Order) -> Chapter:
    if helper:
        try:
            return helper.ask(order)
        except Failed:
            pass
    return write(order)
