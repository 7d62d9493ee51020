"""The number of requests after which training has paid for itself."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.costs import Prices
from harness.report.cost_table import break_even
from tests.factories import make_costing, make_report


def test_training_pays_for_itself_after_its_seconds_are_saved_request_by_request() -> None:
    lora, few_shot = make_costing("lora", 100.0, 250), make_costing("few_shot", None, 750)
    assert break_even(lora, few_shot) == pytest.approx(200)
    assert math.isinf(break_even(few_shot, lora) or 0)  # cheaper at first, and never again


def test_a_method_that_is_slower_to_answer_never_becomes_cheaper() -> None:
    assert math.isinf(break_even(make_costing("lora", 100.0, 800), make_costing("few_shot", None, 750)) or 0)


def test_a_saving_within_what_latencies_vary_by_is_no_number_of_requests(tmp_path: Path) -> None:
    runs = [make_costing("lora", 100.0, 740), make_costing("prefix", 100.0, 760), make_costing("few_shot", None, 750)]
    page = make_report(tmp_path, *runs)
    for method in ("lora r8", "prefix r8"):
        assert f"{method} does not surely pay for itself against few_shot: a request takes about as long." in page


@pytest.mark.parametrize(
    "seconds, each, said",
    [
        (100.0, 850, "is cheaper than few_shot from about 700 requests on."),  # 667 to one digit
        (0.1, 100, "is cheaper than few_shot from the first request on."),
        (100.0, 2000, "does not pay for itself against few_shot: a request takes longer."),
    ],
)
def test_how_a_training_pays_for_itself(tmp_path: Path, seconds: float, each: float, said: str) -> None:
    page = make_report(tmp_path, make_costing("lora", seconds, each), make_costing("few_shot", None, 1000))
    assert f"lora r8 {said}" in page


def test_a_training_that_takes_less_than_an_index_is_cheaper_for_a_while(tmp_path: Path) -> None:
    index = {"k": 3, "index_seconds": 300.0}
    dear, alike = make_costing("lora", 100.0, 2000), make_costing("prefix", 100.0, 1050)
    page = make_report(tmp_path, dear, alike, replace(make_costing("rag", None, 1000), retrieval=index))
    assert "lora r8 is cheaper than rag up to about 200 requests." in page
    assert "prefix r8 takes less to set up than rag, and about as long for a request." in page


def test_the_report_says_from_how_many_requests_on_and_at_which_price(tmp_path: Path) -> None:
    both = make_costing("rag_lora", 200.0, 1000)
    runs = [
        make_costing("lora", 100.0, 250),
        both,
        make_costing("few_shot", None, 750),
        make_costing("rag", None, 1250),
    ]
    page = make_report(tmp_path / "a", *runs)
    assert "lora r8 is cheaper than few_shot from about 200 requests on." in page
    assert "lora r8 is cheaper than rag from about 100 requests on." in page
    assert "rag_lora r8 is cheaper than rag from about 800 requests on." in page
    assert "rag_lora r8 does not pay for itself against few_shot: a request takes longer." in page
    assert "| few_shot | – | 750 |" in page  # noqa: RUF001
    priced = make_report(tmp_path / "b", *runs, prices=Prices(hour=36, requests_per_month=1e6))
    assert "a month of 1,000,000 (money)" in priced
    assert "| lora r8 | 1 | 2.5 | 2,500 |" in priced
