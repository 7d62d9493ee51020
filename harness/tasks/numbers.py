"""The last number of a text, as a person reads it.

    last_number("It costs $1,234.50, not 1,300")     # Decimal("1300")

- A minus is any hyphen or minus sign without a letter or digit before it: `-5` is minus five, `4-6` a range.
- `.5`, `1.2e6`, LaTeX's `9{,}500`, and narrow or non-breaking blanks and apostrophes between groups of three digits.
- Comma and point together: the later one is the decimal mark (`1.234,56`). A comma alone separates thousands if all
  groups have three digits (`1,234`), otherwise it is a decimal mark (`1,00`). A point alone is a decimal mark.

Numbers of any length are exact.
"""

from __future__ import annotations

import re
from decimal import Decimal

_MINUS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"), "-")
_GROUP_MARK = re.compile(r"(?<=\d)(?:[\u00a0\u2009\u202f'\u2019]|\\,)(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"((?<![\w)])-)?(\d+(?:[.,]\d+)*|(?<![\w.])\.\d+)([eE][-+]?\d{1,9}(?!\w))?")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:[.,]\d{3})+")


def last_number(text: str) -> Decimal | None:
    """None if there is none."""
    plain = _GROUP_MARK.sub("", text.translate(_MINUS).replace("{,}", ","))
    numbers = _NUMBER.findall(plain)
    if not numbers:
        return None
    sign, digits, exponent = numbers[-1]
    return Decimal(sign + _with_a_point(digits) + exponent)


def _with_a_point(digits: str) -> str:
    """Digits with the decimal mark as a point and without separators of thousands."""
    marks = [character for character in digits if character in ".,"]
    if not marks:
        return digits
    if len(set(marks)) == 2:
        whole, _, fraction = digits.rpartition(marks[-1])
        return "".join(character for character in whole if character.isdigit()) + "." + fraction
    (mark,) = set(marks)
    if _THOUSANDS.fullmatch(digits) and (mark == "," or len(marks) > 1):
        return digits.replace(mark, "")
    return digits.replace(mark, ".") if len(marks) == 1 else digits.rpartition(mark)[2]
