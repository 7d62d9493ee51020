"""glibc's allocator on a CPU, set up so that resident memory equals the memory of live tensors.

By default glibc keeps freed tensors in fragmented heaps, one for each thread: a training step with 2.9 GiB of tensors
had 4.1 GiB resident (LOG.md). With these settings there is one heap, and every tensor of at least 1 MiB is a separate
mapping that goes back to the system when it is freed. Tensors of at least 2 MiB use huge pages; without them the kernel
spends a fifth of a step zeroing pages. This still costs time on rows of many hundred tokens (LOG.md), so a run can turn
it off.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_LARGE, _LARGEST = 2**20, 2**25  # bytes; glibc takes no higher threshold
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def manage_memory() -> None:
    """Set the allocator up; call it before torch allocates its first tensor. Does nothing without glibc."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


def keep_freed() -> None:
    """Let the heap reuse freed memory: faster, but resident memory no longer equals live tensors."""
    _set_mapping_threshold(_LARGEST)


@contextlib.contextmanager
def keeping_freed() -> Iterator[None]:
    """`keep_freed` for work whose memory is not reported; afterwards the heap returns its free memory."""
    before = _mapping_threshold
    keep_freed()
    try:
        yield
    finally:
        if before != _LARGEST:
            _set_mapping_threshold(before)
            give_back()


_mapping_threshold = _LARGE
"""Tensors of at least this many bytes are separate mappings."""


def _set_mapping_threshold(size: int) -> None:
    global _mapping_threshold
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, size)
    _mapping_threshold = size


def give_back() -> None:
    """Return the heap's free memory to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
