"""Allocator settings for a CPU run, so that resident memory follows the memory of its tensors.

glibc keeps large freed tensors in heaps with holes, one for each thread: a training step that held 2.9 GiB of tensors
was resident with 4.1 GiB (LOG.md). So there is one heap, and every tensor of 1 MiB and more is a mapping of its own,
given back when it is freed; of 2 MiB and more in huge pages, without which the kernel spends a fifth of a step zeroing.
That still costs time on rows of many hundred tokens (LOG.md), so a run can do without.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_LARGE, _LARGEST = 2**20, 2**25  # bytes; glibc takes no higher threshold
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def manage_memory() -> None:
    """Set the allocator up, before torch allocates its first tensor. Does nothing if there is no glibc."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


def keep_freed() -> None:
    """Let the heap keep what tensors have freed, for those to come: faster, and what is resident says less."""
    _keep_below(_LARGEST)


@contextlib.contextmanager
def keeping_freed() -> Iterator[None]:
    """The same while work lasts whose memory is not quoted; afterwards the heap gives back what it has kept."""
    before = _kept_below
    keep_freed()
    try:
        yield
    finally:
        if before != _LARGEST:
            _keep_below(before)
            give_back()


_kept_below = _LARGE
"""Bytes from which a tensor is a mapping of its own."""


def _keep_below(size: int) -> None:
    global _kept_below
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, size)
    _kept_below = size


def give_back() -> None:
    """Return what the heap keeps of freed small tensors to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
