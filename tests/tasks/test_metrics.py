"""Judging one answer."""

import pytest

from harness.tasks.metrics import METRICS, contains, exact_match, normalise, number_match, token_f1


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


def test_evaluate_loads_the_metrics_from_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import evaluate

    from harness.tasks import evaluate_modules

    loaded = evaluate.load(str(evaluate_modules.__file__), "token_f1")
    found = loaded.compute(predictions=["the Ormen ferry"], references=[["Ormen"]])
    assert found == {"token_f1": pytest.approx(2 / 3)}


def test_evaluate_modules_give_the_mean_of_the_pure_metric() -> None:
    from harness.tasks.evaluate_modules import as_module

    predictions, references = ["the Ormen ferry", "x"], [["Ormen"], ["x", "y"]]
    for name, metric in METRICS.items():
        mean = sum(map(metric, predictions, references)) / 2
        assert as_module(name).compute(predictions=predictions, references=references) == {name: pytest.approx(mean)}
