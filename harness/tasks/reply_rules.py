"""Rules for a reply, as data: each has a condition and a text that the reply must, or must not, contain.

- name: disclaimer
  about: A reply about a return states the fourteen days, word for word.
  when: topic == "return"                # a Jinja expression over the row; absent: always
  matches: "within fourteen days"        # or `lacks:` a regular expression, or `most_words:` a number
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import TemplateError

from harness.errors import UserError
from harness.tasks.templates import expression, template
from harness.typed import read_yaml, typed

_CHECKS = ("matches", "lacks", "most_words")


@dataclass(frozen=True)
class Rule:
    """One rule; `value` is the pattern (a template over the row) or the number of words."""

    name: str
    about: str
    when: str | None
    check: str
    """matches | lacks | most_words."""
    value: str

    def applies(self, row: Mapping[str, Any]) -> bool:
        return self.when is None or bool(expression(self.when)(**row))

    def kept(self, text: str, row: Mapping[str, Any]) -> bool:
        """Whether a text keeps the rule; an empty text keeps no rule."""
        if not text.strip():
            return False
        value = template(self.value).render(row)
        if self.check == "most_words":
            return len(text.split()) <= int(value)
        return bool(re.search(value, text)) == (self.check == "matches")


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules in a file; UserError with the file and the rule's name or number if one is malformed."""
    raw = read_yaml(path)
    if not isinstance(raw, list) or not raw:
        raise UserError(f"{path}: expected a list of rules.")
    return tuple(
        as_rule(rule, f"{path}: rule {rule.get('name', number) if isinstance(rule, dict) else number}")
        for number, rule in enumerate(raw, start=1)
    )


def judge_rules(rules: Sequence[Rule], text: str, row: Mapping[str, Any]) -> dict[str, float]:
    """The share of applicable rules that a text keeps, whether it keeps all, and the verdict on each."""
    verdicts = {rule.name: float(rule.kept(text, row)) for rule in rules if rule.applies(row)}
    share = sum(verdicts.values()) / len(verdicts) if verdicts else 1.0
    return {
        "rules_kept": share,
        "all_rules_kept": float(share == 1.0),
        **{f"rule {name}": kept for name, kept in verdicts.items()},
    }


class _RuleFields(msgspec.Struct, forbid_unknown_fields=True):
    """A rule as in the file."""

    name: str
    about: str = ""
    when: str | None = None
    matches: str | None = None
    lacks: str | None = None
    most_words: int | str | None = None


def as_rule(data: Any, place: str) -> Rule:
    """One rule from its data; UserError that starts with `place` if it is malformed."""
    fields = typed(data, _RuleFields, f"{place}: ")
    checks = [(check, value) for check in _CHECKS if (value := getattr(fields, check)) is not None]
    if len(checks) != 1:
        raise UserError(f"{place}: expected exactly one of {', '.join(_CHECKS)}.")
    ((check, value),) = checks
    rule = Rule(fields.name, fields.about, fields.when, check, str(value))
    try:
        template(rule.value)
        if rule.when is not None:
            expression(rule.when)
        if rule.check != "most_words" and "{" not in rule.value:
            re.compile(rule.value)
    except (TemplateError, re.error) as cause:
        raise UserError(f"{place}: {cause}") from cause
    return rule
