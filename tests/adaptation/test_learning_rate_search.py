"""Trying learning rates, and training again where memory ended."""

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.adaptation import learning_rate_search
from harness.contexts.context import bind
from harness.contexts.context_settings import ContextSettings
from harness.inference.evaluate import Respondent, answer
from harness.measurement.meter import Meter, now
from harness.progress import Progress
from harness.records.record import Score
from harness.settings import Settings
from harness.sweep import compose


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling")]
)
def test_where_memory_ends_training_starts_again_with_checkpointing(
    monkeypatch: pytest.MonkeyPatch, colours: Path, tmp_path: Path, error: RuntimeError
) -> None:
    genuine: Any = learning_rate_search.train
    asked: list[bool | None] = []

    def ends_without(base: Any, rows: Any, unseen: Any, how: Any, *rest: Any) -> Any:
        asked.append(how.gradient_checkpointing)
        if not how.gradient_checkpointing:
            raise error
        return genuine(base, rows, unseen, how, *rest)

    monkeypatch.setattr(learning_rate_search, "train", ends_without)
    words = ["task=folder", f"task.path={colours}", "model=tiny", "method=lora", f"results={tmp_path}"]
    (configured,) = compose.compositions(words)
    task = configured.load_task()
    shown = bind(ContextSettings("zero_shot"), task, (), 0)
    pool, unseen = task.splits["train"][:4], task.splits["validation"][:2]
    facts = learning_rate_search.adapt(configured, task, shown, pool, unseen, Meter(), Progress()).training
    assert asked == [None, True]
    assert facts is not None
    assert facts.gradient_checkpointing is True
    refused = Settings(
        {**configured.config, "training": {**configured.config["training"], "gradient_checkpointing": False}}
    )
    with pytest.raises(type(error)):
        learning_rate_search.adapt(refused, task, shown, pool, unseen, Meter(), Progress())


def test_no_second_of_a_search_is_counted_twice(colours: Path, tmp_path: Path) -> None:
    words = ["task=folder", f"task.path={colours}", "model=tiny", "method=lora", f"results={tmp_path}"]
    (configured,) = compose.compositions([*words, "training.learning_rate=[1e-3,1e-2]", "training.epochs=1"])
    task, meter, began = configured.load_task(), Meter(), now()
    shown = bind(ContextSettings("zero_shot"), task, (), 0)
    pool, unseen = task.splits["train"][:4], task.splits["validation"][:2]
    adapted = learning_rate_search.adapt(configured, task, shown, pool, unseen, meter, Progress())
    assert sum(meter.spent.values()) <= now() - began
    assert adapted.training and meter.spent["training"] == adapted.training.seconds
    assert set(meter.peaks) == {"load", "train"}


@pytest.mark.parametrize("method", ["lora", "full", "prefix"])
@pytest.mark.parametrize("best", [0, 1, 2])
def test_one_model_at_a_time_is_in_memory_and_the_best_is_the_one_that_stays(
    monkeypatch: pytest.MonkeyPatch, colours: Path, tmp_path: Path, method: str, best: int
) -> None:
    """The rates start from the same weights, and the model that is kept answers as it did in the search."""
    models: list[weakref.ref[Any]] = []
    starts: list[str] = []
    genuine: Any = learning_rate_search.train

    def noting(base: Any, *rest: Any) -> Any:
        gc.collect()
        assert [model for model in models if model() is not None] == []
        models.append(weakref.ref(base.model))
        starts.append(json.dumps([p.sum().item() for p in base.model.parameters() if p.requires_grad]))
        return genuine(base, *rest)

    scores = iter([float(place == best) for place in range(3)])
    monkeypatch.setattr(learning_rate_search, "train", noting)
    monkeypatch.setattr(learning_rate_search, "score", lambda task, answers: Score(value=next(scores)))
    words = ["task=folder", f"task.path={colours}", "model=tiny", f"method={method}", f"results={tmp_path}"]
    (configured,) = compose.compositions([*words, "training.learning_rate=[1e-1,1e-2,1e-3]", "training.epochs=2"])
    task = configured.load_task()
    context = bind(ContextSettings("zero_shot"), task, (), 0)
    validation = task.splits["validation"]
    adapted = learning_rate_search.adapt(
        configured, task, context, task.splits["train"], validation, Meter(), Progress()
    )
    assert adapted.training and adapted.training.learning_rate == [1e-1, 1e-2, 1e-3][best]
    assert len(set(starts)) == 1
    again = answer(Respondent(task, adapted.base, context, configured.measure, Progress()), validation, "again")
    assert [p.log_likelihoods for p in again] == [p.log_likelihoods for p in adapted.validated]
