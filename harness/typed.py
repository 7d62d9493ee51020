"""Data that people write (task.yaml, margins, rules, settings), checked against a type; a mistake is named by its key.

>>> typed({"epochs": "three"}, TrainingSettings, "training.")
UserError: training.epochs='three': expected a number.

The type says what is allowed: the fields of a struct, a bound (`msgspec.Meta`), a `Literal`; the `description` of a
Meta says it in better words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import yaml
from msgspec import inspect

from harness.errors import UserError

T = TypeVar("T")


def typed(values: object, kind: type[T], place: str) -> T:
    """Values as `kind`; UserError with the key, its value and what is allowed.

    place: what stands before the key in the message, such as `training.` or `task.yaml: `.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as cause:
        mistake = _first_mistake(values, inspect.type_info(kind), "")
        raise UserError(f"{place}{mistake.message if mistake else cause}.") from cause


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; UserError with its name if it cannot be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise UserError(f"{path}: cannot be read as YAML: {' '.join(str(cause).split())}") from cause


class _Mistake(NamedTuple):
    key: str
    message: str


def _first_mistake(value: Any, allowed: inspect.Type, key: str) -> _Mistake | None:
    """The first place at which a value is not what a type allows; None if all of it is."""
    expected = _Mistake(key, (f"{key}={value!r}: " if key else "") + f"expected {_in_words(allowed)}")
    if isinstance(allowed, inspect.Metadata):
        inner = _first_mistake(value, allowed.type, key)
        return expected if inner and inner.key == key else inner
    if isinstance(allowed, inspect.UnionType):
        mistakes = [_first_mistake(value, one, key) for one in allowed.types]
        deeper = [mistake for mistake in mistakes if mistake and mistake.key != key]
        return None if None in mistakes else deeper[0] if deeper else expected
    if isinstance(allowed, inspect.StructType | inspect.DataclassType):
        return _of_fields(value, allowed, key) if isinstance(value, Mapping) else expected
    if isinstance(allowed, inspect.DictType):
        if not isinstance(value, Mapping):
            return expected
        for name, part in value.items():
            if _first_mistake(name, allowed.key_type, key):
                return _Mistake(
                    _under(key, name), f"{_under(key, name)}: not known; known are {_names(allowed.key_type)}"
                )
            if mistake := _first_mistake(part, allowed.value_type, _under(key, name)):
                return mistake
        return None
    if isinstance(allowed, inspect.ListType | inspect.VarTupleType):
        if not isinstance(value, list | tuple) or len(value) < (getattr(allowed, "min_length", None) or 0):
            return expected
        parts = (_first_mistake(part, allowed.item_type, f"{key}[{i}]") for i, part in enumerate(value))
        return next((mistake for mistake in parts if mistake), None)
    return None if _fits(value, allowed) else expected


def _of_fields(
    value: Mapping[str, Any], allowed: inspect.StructType | inspect.DataclassType, key: str
) -> _Mistake | None:
    names = {field.encode_name for field in allowed.fields}
    closed = isinstance(allowed, inspect.StructType) and allowed.forbid_unknown_fields
    for name in value:
        if closed and name not in names:
            return _Mistake(_under(key, name), f"{_under(key, name)}: not known; known are {', '.join(sorted(names))}")
    for field in allowed.fields:
        inside = _under(key, field.encode_name)
        if field.encode_name not in value:
            if field.required:
                return _Mistake(inside, f"{inside} is missing")
        elif mistake := _first_mistake(value[field.encode_name], field.type, inside):
            return mistake
    return None


def _fits(value: Any, allowed: inspect.Type) -> bool:
    """Whether a value that has no parts is of a type and within its bounds."""
    if isinstance(allowed, inspect.LiteralType):
        return value in allowed.values
    if isinstance(allowed, inspect.IntType | inspect.FloatType):
        kinds = int if isinstance(allowed, inspect.IntType) else int | float
        if not isinstance(value, kinds) or isinstance(value, bool):
            return False
        above = (allowed.gt is None or value > allowed.gt) and (allowed.ge is None or value >= allowed.ge)
        return above and (allowed.lt is None or value < allowed.lt) and (allowed.le is None or value <= allowed.le)
    if isinstance(allowed, inspect.StrType):
        return isinstance(value, str) and len(value) >= (allowed.min_length or 0)
    plain: dict[type, type] = {inspect.BoolType: bool, inspect.NoneType: type(None)}
    return isinstance(value, plain.get(type(allowed), object))


def _in_words(allowed: inspect.Type) -> str:
    """What a type allows, as a message says it."""
    if isinstance(allowed, inspect.Metadata):
        return (allowed.extra_json_schema or {}).get("description") or _in_words(allowed.type)
    if isinstance(allowed, inspect.UnionType):
        return " or ".join(_in_words(one) for one in allowed.types)
    if isinstance(allowed, inspect.LiteralType):
        return f"one of {', '.join(map(str, allowed.values))}" if len(allowed.values) > 1 else str(allowed.values[0])
    if isinstance(allowed, inspect.IntType | inspect.FloatType):
        bounds = ((allowed.gt, "above"), (allowed.ge, "of at least"), (allowed.lt, "below"), (allowed.le, "of at most"))
        kind = "a whole number" if isinstance(allowed, inspect.IntType) else "a number"
        return f"{kind} {' and '.join(f'{word} {bound:g}' for bound, word in bounds if bound is not None)}".strip()
    if isinstance(allowed, inspect.ListType | inspect.VarTupleType):
        least = f" of at least {allowed.min_length}" if getattr(allowed, "min_length", None) else ""
        return f"a list{least}, each {_in_words(allowed.item_type)}"
    if isinstance(allowed, inspect.DictType):
        return f"names, each with {_in_words(allowed.value_type)}"
    if isinstance(allowed, inspect.StructType | inspect.DataclassType):
        return f"fields such as {', '.join(field.encode_name for field in allowed.fields[:5])}"
    plain = {inspect.StrType: "text", inspect.BoolType: "true or false", inspect.NoneType: "null"}
    return plain.get(type(allowed), "something else")


def _names(keys: inspect.Type) -> str:
    return ", ".join(sorted(map(str, keys.values))) if isinstance(keys, inspect.LiteralType) else _in_words(keys)


def _under(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
