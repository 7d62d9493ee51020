"""What setting up and requests cost, in seconds and in money."""

import pytest

from harness.records.costs import Prices, request_seconds, set_up_seconds, total
from tests.factories import make_costing, make_record


def test_set_up_counts_the_search_and_the_index_and_a_request_the_merged_adapter() -> None:
    made = make_record("lora", rank=8, seconds=100.0, p50=60)
    assert set_up_seconds(made) == 300  # its search took twice as long as its training
    assert request_seconds(made) == pytest.approx(0.06 * 0.85)
    assert set_up_seconds(make_record("rag")) == 1.2


def test_the_whole_cost_is_set_up_and_requests_in_seconds_or_in_money() -> None:
    lora = make_costing("lora", 100.0, 250)
    assert total(lora, Prices()) == pytest.approx(100 + 1000 * 0.25)
    assert total(lora, Prices(hour=36, requests_per_month=2000)) == pytest.approx((100 + 2000 * 0.25) * 36 / 3600)
