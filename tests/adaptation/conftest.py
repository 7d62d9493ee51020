"""Rows of the colours task as a model is trained on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.adaptation.batches import Rows
from harness.contexts.chat_format import Encoder
from harness.contexts.context import bind
from harness.contexts.context_settings import ContextSettings
from harness.models import loading
from harness.tasks.definition import load_task
from tests.tiny_model import TINY


@pytest.fixture
def rows(colours: Path) -> tuple[Rows, Rows]:
    task = load_task(colours)
    context = bind(ContextSettings("zero_shot"), task, (), seed=0)
    encoder = Encoder(loading.load_tokenizer(TINY))
    return tuple(Rows.encode(context, encoder, task.splits[split], 2048) for split in ("train", "validation"))  # type: ignore[return-value]
