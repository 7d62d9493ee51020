"""The last number of a text, as a person reads it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from harness.tasks.metrics import number_match
from harness.tasks.numbers import last_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The total is 1,234.", "1234"),
        ("It costs $1,234.50", "1234.5"),
        ("The answer is \u22125", "-5"),
        ("The answer is \uff0d5", "-5"),
        ("it fell by -3.5 %", "-3.5"),
        ("between 4-6", "6"),
        ("from 4\u20136", "6"),
        ("see form A-5", "5"),
        ("10-7 = 3", "3"),
        (r"\boxed{9{,}500}", "9500"),
        (r"12\,000 m", "12000"),
        ("12\u202f000 litres", "12000"),
        ("12'000 francs", "12000"),
        ("rooms 12 000", "0"),
        ("The answer is .5", "0.5"),
        ("-.5", "-0.5"),
        ("1.2e6", "1200000"),
        ("2E-3", "0.002"),
        ("1e5x", "5"),
        ("1.234,56", "1234.56"),
        ("1.234.567", "1234567"),
        ("1,00", "1"),
        ("0,500", "0.5"),
        ("1.234", "1.234"),
        ("1, 2, 3", "3"),
        ("1,2,3", "3"),
        ("That is 72 clips, altogether.", "72"),
        ("**14**", "14"),
        ("9" * 400, "9" * 400),
    ],
)
def test_the_last_number(text: str, number: str) -> None:
    assert last_number(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "none", "-", ".", "e"])
def test_a_text_without_a_number(text: str) -> None:
    assert last_number(text) is None


def test_numbers_match_exactly_whatever_their_length() -> None:
    long = "8" * 500
    assert number_match(long, [long]) == 1
    assert number_match(long[:-1] + "7", [long]) == 0
    assert number_match("1e999999999", ["1e999999998"]) == 0
