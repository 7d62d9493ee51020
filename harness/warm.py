"""What a fork server imports once, quietly: the libraries of every run, which a forked child then has at once.

A server in which CUDA is initialised must not be forked, so nothing here may touch the device (`processes` checks it).
"""

import logging
import os
import warnings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)  # bitsandbytes and TRL talk while they are imported

import datasets  # noqa: E402
import faiss  # noqa: E402, F401
import peft  # noqa: E402, F401
import sentence_transformers  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers  # noqa: E402
import trl  # noqa: E402, F401

import harness.run  # noqa: E402
import harness.training  # noqa: E402, F401

datasets.disable_progress_bars()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
