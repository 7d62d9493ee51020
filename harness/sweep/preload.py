"""What the fork server imports, so that a forked run has its libraries at once. The import is the point: it loads them.

A server in which CUDA is initialised must not be forked, so nothing here may touch the device (`start_run` checks it).
"""

from __future__ import annotations

import gc
from importlib import import_module

from harness.measurement import cpu_allocator, matmul
from harness.sweep import silent_libraries

LIBRARIES = ("torch", "transformers", "datasets", "peft", "trl", "faiss", "sentence_transformers")


def _load() -> None:
    silent_libraries.silence()
    cpu_allocator.manage_memory()  # before torch allocates anything
    for name in (*LIBRARIES, "harness.run", "harness.adaptation.train"):
        import_module(name)
    silent_libraries.silence_bars()
    matmul.use_chosen()
    gc.collect()
    gc.freeze()  # a run's collections need not look at the libraries' million objects


_load()
