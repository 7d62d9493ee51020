"""What `harness check` writes: JUnit, markdown, the terminal; and its page in docs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from tests.commands import run_check
from tests.factories import (
    N_CHECKED,
    flip_scores,
    make_failed_record,
    make_record,
    shuffled_scores,
    write_pair,
    write_results,
    write_run,
)


def test_junit_counts_its_cases_and_names_what_failed(tmp_path: Path) -> None:
    write_pair(tmp_path, 5, 45)
    hostile = 'task <&"\x1b[31m\ud800|`'.encode("utf-8", "replace").decode()
    write_run(tmp_path / "a", make_record("full", n=N_CHECKED, task=hostile), shuffled_scores(300, N_CHECKED))
    write_run(
        tmp_path / "b",
        make_record("lora", n=N_CHECKED, rank=8, task=hostile),
        flip_scores(shuffled_scores(300, N_CHECKED), 25, 30),
    )
    path = tmp_path / "new" / "junit.xml"
    code, *_ = run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b", "--junit", str(path))
    assert code == 1
    root = ElementTree.parse(path).getroot()
    assert root.tag == "testsuites" and not root.attrib
    (suite,) = root
    assert [part.tag for part in suite] == ["properties", *["testcase"] * 6, "system-out", "system-err"]
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases[1:]] == [
        "ticket_routing", "all tasks", "training time", "latency p50", "peak memory",
    ]  # fmt: skip
    assert all(case.get("classname") and case.get("time") for case in cases)
    endings = [[part.tag for part in case] for case in cases]
    assert endings == [["skipped"], ["failure"], ["failure"], ["skipped"], ["skipped"], ["skipped"]]
    assert "-8.0 points" in str(cases[1][0].get("message"))
    assert all(case[0].get("type") in ("worse", "inconclusive") for case in cases)
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "2", "errors": "0", "skipped": "4"}
    assert suite.get("timestamp") == "2026-03-01T10:06:00"
    assert "worse" in str(suite.findtext("system-out"))


def test_junit_of_a_refusal_is_an_error_and_of_a_pass_nothing(tmp_path: Path) -> None:
    for name, data in (("refused", "2" * 64), ("passed", "1" * 64)):
        write_run(
            tmp_path / name / "a", make_record("full", n=N_CHECKED, data="1" * 64), shuffled_scores(300, N_CHECKED)
        )
        write_run(
            tmp_path / name / "b", make_record("lora", n=N_CHECKED, rank=8, data=data), shuffled_scores(300, N_CHECKED)
        )
        root = tmp_path / name
        run_check("--baseline", f"{root}/a", "--candidate", f"{root}/b", "--junit", f"{root}/junit.xml")
    refused, passed = (ElementTree.parse(tmp_path / name / "junit.xml").getroot()[0] for name in ("refused", "passed"))
    assert [part.tag for part in refused.findall("testcase")[0]] == ["error"]
    assert refused.get("errors") == "2"
    assert [len(case) for case in passed.findall("testcase")][:2] == [0, 0]


def test_what_no_file_can_hold_is_replaced(tmp_path: Path) -> None:
    """Half a surrogate pair and U+FFFE, which JSON may carry and XML may not."""
    for side, method in (("a", "full"), ("b", "prefix")):
        write_run(
            tmp_path / side,
            make_record(method, n=N_CHECKED, task="odd SURROGATE \ufffe"),
            shuffled_scores(300, N_CHECKED),
        )
        (path,) = (tmp_path / side).rglob("record.json")
        path.write_text(path.read_text().replace("SURROGATE", "\\ud800"))
    sides = ["--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b"]
    code, out, _ = run_check(*sides, "--junit", f"{tmp_path}/x.xml", "--markdown", f"{tmp_path}/x.md")
    assert code == 0
    assert out.encode()
    assert ElementTree.parse(tmp_path / "x.xml").getroot()[0].findall("testcase")[0].get("name") == "odd ? ?"
    assert json.loads(run_check(*sides, "--json")[1])["tasks"][0]["task"] == "odd \ud800 \ufffe"


def test_markdown_shows_hostile_names_as_text(tmp_path: Path) -> None:
    hostile = "a|b <script>alert(1)</script> [x](http://evil)"
    write_run(tmp_path / "a", make_record("full", n=N_CHECKED, task=hostile), shuffled_scores(300, N_CHECKED))
    write_results(
        tmp_path / "b", replace(make_failed_record("lora", "oom", "|<img src=x>` | [y](http://evil)", 8), task=hostile)
    )
    path = tmp_path / "comment.md"
    code, *_ = run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b", "--markdown", str(path))
    text = path.read_text()
    assert code == 3
    assert "a&#124;b &lt;script&gt;" in text
    assert not any(part in text for part in ("<script", "<img", "[x]", "[y]"))
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {9, 7}
    assert text.startswith("### inconclusive")


def test_the_terminal_says_what_is_compared_and_what_would_decide(tmp_path: Path) -> None:
    write_pair(tmp_path, 25, 30)
    code, out, err = run_check("--baseline", f"{tmp_path}/a", "--candidate", f"{tmp_path}/b")
    assert (code, err) == (3, "")
    assert out.startswith("lora r8 against full\n")
    (needed,) = [line for line in out.splitlines() if line.startswith("Enough for a verdict")]
    total = int(needed.split("about ")[1].split()[0].replace(",", ""))
    assert f"({total - N_CHECKED:,} more)" in needed
    assert out.rstrip().endswith("verdict: inconclusive (this checkpoint, not this method)")
