"""Data that people write, checked against a type: each mistake is named by its key, with what is allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import pytest

from harness.errors import UserError
from harness.typed import typed

Share = Annotated[float, msgspec.Meta(gt=0, lt=1, description="a share")]


@dataclass(frozen=True)
class Inner:
    steps: Annotated[int, msgspec.Meta(ge=1)] = 1


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    kind: Literal["a", "b"] = "a"
    shares: dict[Literal["x", "y"], Share] = {}
    rates: float | list[float] = 0.1
    inner: Inner = field(default_factory=Inner)
    flag: bool = False


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "f.yaml: expected fields such as name, kind, shares, rates, inner."),
        ({}, "f.yaml: name is missing."),
        ({"name": 1}, "f.yaml: name=1: expected text."),
        ({"name": "n", "nmae": "n"}, "f.yaml: nmae: not known; known are flag, inner, kind, name, rates, shares."),
        ({"name": "n", "kind": "c"}, "f.yaml: kind='c': expected one of a, b."),
        ({"name": "n", "shares": {"z": 0.5}}, "f.yaml: shares.z: not known; known are x, y."),
        ({"name": "n", "shares": {"x": 1}}, "f.yaml: shares.x=1: expected a share."),
        ({"name": "n", "shares": 0.5}, "f.yaml: shares=0.5: expected names, each with a share."),
        ({"name": "n", "rates": "high"}, "f.yaml: rates='high': expected a number or a list, each a number."),
        ({"name": "n", "rates": [0.1, "high"]}, "f.yaml: rates[1]='high': expected a number."),
        ({"name": "n", "inner": {"steps": 0}}, "f.yaml: inner.steps=0: expected a whole number of at least 1."),
        ({"name": "n", "inner": {"steps": True}}, "f.yaml: inner.steps=True: expected a whole number of at least 1."),
        ({"name": "n", "flag": "yes"}, "f.yaml: flag='yes': expected true or false."),
    ],
)
def test_a_mistake_is_named_by_its_key_with_what_is_allowed(values: Any, message: str) -> None:
    with pytest.raises(UserError) as refused:
        typed(values, Outer, "f.yaml: ")
    assert str(refused.value) == message


def test_what_is_allowed_becomes_the_type() -> None:
    given = {"name": "n", "shares": {"x": 0.5}, "rates": [1, 2], "inner": {"steps": 3}}
    assert typed(given, Outer, "") == Outer("n", "a", {"x": 0.5}, [1.0, 2.0], Inner(3))
