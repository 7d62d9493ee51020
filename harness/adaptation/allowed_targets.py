"""Objects that a configuration may name by `_target_`, and nothing else.

    build({"_target_": "peft.LoraConfig", "r": 8, "task_type": "CAUSAL_LM"})

A configuration is data that people copy from each other, so a target is built only if the object's *defining* module
belongs to a trusted library: `peft.os.system` has the right prefix and the wrong module. Another package extends the
list through an entry point of its own (group `harness.targets`, value: the module), never through a configuration.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import UserError

TRUSTED_MODULES = ("peft", "torch.optim", "bitsandbytes.optim")
TRUSTED_FUNCTIONS = ("peft.initialize_kv_prefix_from_text",)
ENTRY_POINTS = "harness.targets"


def build(spec: Mapping[str, Any], *arguments: Any) -> Any:
    """Call the target with the spec's other fields; every nested target is resolved before anything is built."""
    check(spec)
    return _build(spec, *arguments)


def check(spec: Any) -> None:
    """Resolve every `_target_` in a spec; UserError at the first that is not allowed."""
    if isinstance(spec, Mapping):
        if "_target_" in spec:
            resolve(spec["_target_"])
        for value in spec.values():
            check(value)
    elif isinstance(spec, list | tuple):
        for value in spec:
            check(value)


def resolve(path: str) -> Callable[..., Any]:
    """The class or listed function at a dotted path; UserError if it does not exist or is not trusted."""
    modules = trusted_modules()
    if not _inside(path, tuple(module.split(".")[0] for module in modules)):
        raise UserError(f"_target_: {path}: only {', '.join(modules)} are trusted.")
    found = _find(path)
    listed = path in TRUSTED_FUNCTIONS
    if not (listed or (inspect.isclass(found) and _inside(found.__module__, modules))):
        where = getattr(found, "__module__", type(found).__name__)
        raise UserError(f"_target_: {path}: defined in {where}; only classes of {', '.join(modules)} are trusted.")
    return found


def trusted_modules() -> tuple[str, ...]:
    """Trusted libraries and the modules that installed packages have declared."""
    declared = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return (*TRUSTED_MODULES, *(entry.value for entry in declared))


def _build(spec: Any, *arguments: Any) -> Any:
    if isinstance(spec, Mapping) and "_target_" in spec:
        options = {name: _build(value) for name, value in spec.items() if name != "_target_"}
        try:
            return resolve(spec["_target_"])(*arguments, **options)
        except (TypeError, ValueError) as cause:
            raise UserError(f"_target_: {spec['_target_']}: {' '.join(str(cause).split())}") from cause
    if isinstance(spec, Mapping):
        return {name: _build(value) for name, value in spec.items()}
    if isinstance(spec, list | tuple):
        return [_build(value) for value in spec]
    return spec


def _find(path: str) -> Any:
    """Import the longest module of a dotted path, then follow attributes."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            if not hasattr(found, name):
                raise UserError(f"_target_: {path}: {'.'.join(parts[:cut])} has no {name!r}.")
            found = getattr(found, name)
        return found
    raise UserError(f"_target_: {path}: no such module.")


def _inside(module: str, trusted: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in trusted)
