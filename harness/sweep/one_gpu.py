"""One GPU a run: a run holds a lock on it and sees no other, so two commands on two GPUs take one each.

with one_gpu(print) as uuid:     # None without a GPU
    ...                          # CUDA_VISIBLE_DEVICES=uuid in the run's process
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.measurement.gpu_driver import PCI_ORDER, Gpu, visible_gpus

_PAUSE = 0.5  # seconds between two attempts to get a GPU


@contextmanager
def one_gpu(say: Callable[[str], None]) -> Iterator[str | None]:
    """Hold one of the visible GPUs and give its UUID; None on a CPU. While all are held by other runs, it waits.

    Only GPUs with the name of the first are used, since the name is part of a run's identity.
    """
    gpus = visible_gpus()
    alike = [gpu for gpu in gpus if gpu.name == gpus[0].name]
    if not alike:
        yield None
        return
    held = _first_free(alike)
    if held is None:
        say(f"waiting: {'the GPU is' if len(alike) == 1 else f'all {len(alike)} GPUs are'} in use by other runs")
    while held is None:
        time.sleep(_PAUSE)
        held = _first_free(alike)
    gpu, lock = held
    try:
        yield gpu.uuid
    finally:
        lock.release()


def show_only(uuid: str | None) -> None:
    """Let this process see one GPU; call it before CUDA is initialised."""
    if uuid is not None:
        os.environ |= {"CUDA_VISIBLE_DEVICES": uuid, **PCI_ORDER}


def _first_free(gpus: list[Gpu]) -> tuple[Gpu, FileLock] | None:
    for gpu in gpus:
        lock = FileLock(_folder() / f"{gpu.uuid}.lock", mode=0o666)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return gpu, lock
    return None


def _folder() -> Path:
    """The machine's folder of locks, which all its users share."""
    folder = Path(tempfile.gettempdir()) / "adaptation-harness-gpus"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):  # another user's, who has done so
        folder.chmod(0o1777)
    return folder
