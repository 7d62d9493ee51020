"""A process that gets ready while it is not known yet whether it is needed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from harness.report import helper
from harness.report.helper import Failed, Helper, start


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "cpu_count", lambda: 2)


def divider() -> Callable[[int], tuple[float, int]]:
    return lambda number: (1 / number, os.getpid())


def suicide() -> Callable[[object], None]:
    return lambda _: os.kill(os.getpid(), signal.SIGKILL)


def asked(one: Helper | None, question: object) -> tuple[float, int]:
    assert one
    answer: tuple[float, int] = one.ask(question)
    return answer


def test_it_answers_one_question_after_another_in_a_process_that_ends_with_the_block() -> None:
    with start("tests.test_helper:divider") as one:
        (half, first), (quarter, second) = asked(one, 2), asked(one, 4)
        assert (half, quarter) == (0.5, 0.25)
        assert first == second != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_an_interruption_is_not_its_business() -> None:
    with start("tests.test_helper:divider") as one:
        _, process = asked(one, 2)
        os.kill(process, signal.SIGINT)
        assert asked(one, 4) == (0.25, process)


def test_after_a_question_that_it_cannot_answer_there_are_no_answers() -> None:
    with start("tests.test_helper:divider") as one:
        for number in (0, 1):
            with pytest.raises(Failed):
                asked(one, number)


@pytest.mark.parametrize("ready", ["tests.test_helper:suicide", "tests.nowhere:none"])
def test_one_that_dies_or_cannot_get_ready_fails(ready: str) -> None:
    with start(ready) as one, pytest.raises(Failed):
        asked(one, 1)


def test_nothing_is_imported_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "socket.py").write_text("raise ImportError('mine')")
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with start("tests.test_helper:divider") as one:
        assert asked(one, 2)[0] == 0.5
    assert capfd.readouterr().err == ""
    assert "PYTHONSAFEPATH" not in os.environ
    assert signal.getsignal(signal.SIGINT) is before


def test_where_no_process_can_be_had_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(BaseProcess, "start", refuse)
    with start("tests.test_helper:divider") as one:
        assert one is None


def test_a_single_core_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "cpu_count", lambda: 1)
    with start("tests.test_helper:divider") as one:
        assert one is None
