"""What a fork server imports once, quietly: the libraries of every run, which a forked child then has at once.

A server in which CUDA is initialised must not be forked, so nothing here may touch the device (`processes` checks it).
"""

from harness.sweep import quiet  # isort: skip  (before the libraries)

from harness.measurement.cpu_allocator import manage_memory  # isort: skip  (before torch allocates anything)

manage_memory()

import gc  # noqa: E402

import datasets  # noqa: E402, F401
import faiss  # noqa: E402, F401
import peft  # noqa: E402, F401
import sentence_transformers  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers  # noqa: E402, F401
import trl  # noqa: E402, F401

from harness.measurement import matmul  # noqa: E402

quiet.silence_bars()
matmul.use_chosen()
gc.collect()
gc.freeze()  # the libraries' million objects are no garbage of a run: its collections need not look at them
