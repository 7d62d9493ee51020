"""What a fork server imports once, quietly: the libraries of every run, which a forked child then has at once.

A server in which CUDA is initialised must not be forked, so nothing here may touch the device (`processes` checks it).
"""

import ctypes

from harness import quiet  # isort: skip  (before the libraries)

import datasets  # noqa: F401
import faiss  # noqa: F401
import peft  # noqa: F401
import sentence_transformers  # noqa: F401
import torch  # noqa: F401
import transformers  # noqa: F401
import trl  # noqa: F401

import harness.run
import harness.training  # noqa: F401

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next tensor instead of giving it back and having it zeroed again.

    Training on two cores is a third faster for 4 % more peak memory (LOG.md); `Meter.settle` gives it back by phase.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)


keep_freed_memory()
quiet.silence_bars()
