"""The harness's metrics as modules of the `evaluate` library.

>>> as_module("token_f1").compute(predictions=["the Ormen ferry"], references=[["Ormen"]])
{'token_f1': 0.666...}

The harness itself must not import this module: `import evaluate` loads torch.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from harness.errors import UserError
from harness.tasks.metrics import METRICS


def as_module(name: str) -> Any:
    """An `evaluate.Metric` whose `compute` is the mean of a metric over items; UserError for an unknown name."""
    if name not in METRICS:
        raise UserError(f"There is no metric {name!r}; expected one of {', '.join(METRICS)}.")
    return _Module(config_name=name)


class _Module(evaluate.Metric):
    """One of METRICS, named by `config_name`."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=METRICS[self.config_name].__doc__ or "",
            citation="",
            inputs_description="predictions: texts. references: for each, a list of accepted texts.",
            features=datasets.Features(
                {
                    "predictions": datasets.Value("string"),
                    "references": datasets.Sequence(datasets.Value("string")),
                }
            ),
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        metric = METRICS[self.config_name]
        scores = [metric(text, accepted) for text, accepted in zip(predictions, references, strict=True)]
        return {self.config_name: sum(scores) / len(scores)}
