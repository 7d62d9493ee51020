"""Trying learning rates, and training again where memory ended."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.adaptation import learning_rate_search
from harness.contexts.context import bind
from harness.contexts.context_settings import ContextSettings
from harness.measurement.meter import Meter, now
from harness.progress import Progress
from harness.settings import Settings
from harness.sweep import compose


def test_where_memory_ends_training_starts_again_with_checkpointing(
    monkeypatch: pytest.MonkeyPatch, colours: Path, tmp_path: Path
) -> None:
    genuine: Any = learning_rate_search.train
    asked: list[bool | None] = []

    def ends_without(base: Any, rows: Any, unseen: Any, how: Any, *rest: Any) -> Any:
        asked.append(how.gradient_checkpointing)
        if not how.gradient_checkpointing:
            raise torch.OutOfMemoryError("CUDA out of memory")
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
    with pytest.raises(torch.OutOfMemoryError):
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
