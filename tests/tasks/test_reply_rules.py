"""A house's rules for a reply."""

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.tasks.reply_rules import judge_rules, read_rules

RULES = r"""
- name: greets
  matches: "^Dear {{ name | regex_escape }}\\b"
- name: calm
  lacks: "!"
- name: short
  most_words: 8
- name: declines
  when: refuse
  matches: "(?i)we cannot"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def test_only_rules_that_apply_count(file: Path) -> None:
    rules, row = read_rules(file), {"name": "Jo.", "refuse": False}
    assert judge_rules(rules, "Dear Jo., all is well.", row)["rules_kept"] == pytest.approx(2 / 3)  # \b after a dot
    row = {"name": "Jo", "refuse": False}
    verdict = judge_rules(rules, "Dear Jo, all is well.", row)
    assert verdict == {"rules_kept": 1, "all_rules_kept": 1, "rule greets": 1, "rule calm": 1, "rule short": 1}
    refused = judge_rules(rules, "Dear Jo, all is well!", {**row, "refuse": True})
    assert (refused["rules_kept"], refused["all_rules_kept"], refused["rule declines"]) == (0.5, 0, 0)


def test_an_empty_reply_keeps_no_rule(file: Path) -> None:
    assert judge_rules(read_rules(file), "  ", {"name": "Jo", "refuse": True})["rules_kept"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- name: a\n", "rule a: expected exactly one of"),
        ("- name: a\n  lacks: x\n  matches: y\n", "rule a: expected exactly one of"),
        ("- matches: x\n", "rule 1: name is missing"),
        ("- name: a\n  matches: '('\n", "rule a: "),
        ("- name: a\n  matches: x\n  wen: y\n", "rule a: wen: not known"),
        ("name: a\n", "expected a list"),
    ],
)
def test_a_malformed_rule_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_rules(path)
