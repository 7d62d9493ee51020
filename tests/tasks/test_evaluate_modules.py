"""The metrics as modules of the evaluate library."""

import pytest

from harness.tasks.metrics import METRICS


def test_evaluate_modules_give_the_mean_of_the_pure_metric() -> None:
    from harness.tasks.evaluate_modules import as_module

    predictions, references = ["the Ormen ferry", "x"], [["Ormen"], ["x", "y"]]
    for name, metric in METRICS.items():
        mean = sum(map(metric, predictions, references)) / 2
        assert as_module(name).compute(predictions=predictions, references=references) == {name: pytest.approx(mean)}
