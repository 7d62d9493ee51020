"""Libraries that speak only when something is wrong: `silence` before they are imported, `silence_bars` after."""

from __future__ import annotations

import logging
import os
import warnings


def silence() -> None:
    """Switch off warnings and notes of the libraries in this process and those that it starts."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # bitsandbytes and TRL talk while they are imported


def silence_bars() -> None:
    """Switch off the progress bars of datasets and transformers: a run shows its own progress."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
