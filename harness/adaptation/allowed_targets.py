"""The allow-list of objects that a configuration may name by `_target_`.

    build({"_target_": "peft.LoraConfig", "r": 8, "task_type": "CAUSAL_LM"})

People copy configurations from each other, so a target is built only if the object's *defining* module belongs to a
trusted library: `peft.os.system` has the right prefix and the wrong module. Another package can extend the list
through an entry point (group `harness.targets`, value: the module); a configuration cannot.
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
    """Call the target with the spec's other fields; resolves every nested target before it builds anything."""
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
    target = _import(path)
    listed = path in TRUSTED_FUNCTIONS
    if not (listed or (inspect.isclass(target) and _inside(target.__module__, modules))):
        module = getattr(target, "__module__", type(target).__name__)
        raise UserError(f"_target_: {path}: defined in {module}; only classes of {', '.join(modules)} are trusted.")
    return target


def trusted_modules() -> tuple[str, ...]:
    """The trusted libraries and the modules that installed packages declare."""
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


def _import(path: str) -> Any:
    """Import the longest module of a dotted path, then follow attributes."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            target: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            if not hasattr(target, name):
                raise UserError(f"_target_: {path}: {'.'.join(parts[:cut])} has no {name!r}.")
            target = getattr(target, name)
        return target
    raise UserError(f"_target_: {path}: no such module.")


def _inside(module: str, trusted: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in trusted)
