"""The imports of the fork server, so that a forked run has its libraries at once. Importing this module loads them.

A server that has initialised CUDA must not be forked. On a GPU it therefore leaves out peft and trl: both import
bitsandbytes, which asks the device (`start_run` checks the server). A library that is not installed is left out too.
"""

from __future__ import annotations

import gc
from importlib import import_module
from importlib.util import find_spec

from harness.measurement import cpu_allocator, gpu_driver, matmul
from harness.measurement.machine import device_kind
from harness.sweep import silent_libraries

ON_A_GPU = ("torch", "transformers", "datasets")
ON_A_CPU = (*ON_A_GPU, "peft", "trl", "faiss", "sentence_transformers", "harness.run", "harness.adaptation.train")


def _load() -> None:
    silent_libraries.silence()
    cpu_allocator.manage_memory()  # before torch allocates anything
    names = ON_A_CPU if device_kind() == "cpu" else ON_A_GPU
    gpu_driver.close()
    for name in names:
        if find_spec(name) is not None:
            import_module(name)
    silent_libraries.silence_bars()
    matmul.use_chosen()
    gc.collect()
    gc.freeze()  # so that a run's garbage collections skip the libraries' million objects


_load()
