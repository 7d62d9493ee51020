"""Judging one answer."""

import pytest

from harness.tasks.metrics import contains, exact_match, normalise, number_match, token_f1


def test_normalisation_is_squads() -> None:
    assert normalise("The  Ormen-ferry, at 5!") == "ormenferry at 5"


@pytest.mark.parametrize(
    ("completion", "answers", "score"),
    [
        ("Paris", ["Paris"], 1.0),
        ("the Ormen ferry", ["Ormen"], 2 / 3),
        ("Berlin", ["Paris", "Berlin"], 1.0),
        ("", ["Paris"], 0.0),
        ("Rome", ["Paris"], 0.0),
    ],
)
def test_token_f1_takes_the_best_answer(completion: str, answers: list[str], score: float) -> None:
    assert token_f1(completion, answers) == pytest.approx(score)


def test_a_list_of_guesses_does_not_contain_the_answer() -> None:
    assert contains("it is Paris, of course", ["Paris"]) == 1
    assert contains("Rome, Oslo, Bern, Kyiv, Lima, Cairo, Delhi, Paris", ["Paris"]) == 0
    assert contains("the parish", ["par"]) == 0


def test_numbers_are_compared_as_numbers() -> None:
    assert number_match("so the answer is 1,200.", ["1200"]) == 1
    assert number_match("1200 apples and 3 pears", ["1200"]) == 0


def test_exact_match_ignores_case_and_articles_only() -> None:
    assert exact_match("The ferry.", ["ferry"]) == 1
    assert exact_match("ferry boat", ["ferry"]) == 0
