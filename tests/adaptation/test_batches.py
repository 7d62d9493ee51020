"""Tokenised rows, and how they are laid out in a batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.adaptation.batches import Layout, Rows, keeps_rows_apart
from harness.contexts.chat_format import Encoder
from harness.contexts.context import bind
from harness.contexts.context_settings import ContextSettings
from harness.errors import UserError
from harness.measurement.flops import Matrices
from harness.models import loading
from harness.tasks.definition import load_task
from harness.tasks.documents import Passage
from tests.tiny_model import TINY


def test_the_loss_is_on_the_completion_and_its_end_only(rows: tuple[Rows, Rows]) -> None:
    encoder = Encoder(loading.load_tokenizer(TINY))
    for inputs, labels in zip(rows[0].input_ids, rows[0].labels, strict=True):
        learned = [token for token in labels if token != -100]
        assert inputs[-len(learned) :] == learned
        assert encoder.decode(learned) in ("red", "green", "blue")
        assert learned[-1] == encoder.end_of_turn


def test_many_long_rows_are_padded_and_few_short_ones_are_not() -> None:
    layout = Layout(0, Matrices(frozen=10**6, trained=0, head=0, trains_head=False, attention_width=10**3))
    rows = {n: {"input_ids": [5] * n, "labels": [5] * n} for n in (10, 30, 900, 1000)}
    assert len(layout([rows[10], rows[30]])["input_ids"]) == 1
    assert len(layout([rows[1000], rows[900]] * 8)["input_ids"]) == 16
    assert layout([rows[30], rows[30]])["input_ids"].shape == (2, 30)  # no padding to save


@pytest.mark.parametrize(
    ("shape", "packs"),
    [
        ({"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4}, True),
        ({"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, False),
        ({"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 4}, False),
    ],
)
def test_only_a_model_that_keeps_rows_apart_reads_them_in_one(shape: dict[str, Any], packs: bool) -> None:
    assert keeps_rows_apart(loading.load(replace(TINY, shape=shape), None).model) is packs


def test_a_row_that_is_too_long_is_refused_not_cut(colours: Path) -> None:
    task = load_task(colours)
    encoder = Encoder(loading.load_tokenizer(TINY))
    with pytest.raises(UserError, match=r"train-0 has \d+ tokens, more than training.max_length=20"):
        Rows.encode(bind(ContextSettings("zero_shot"), task, (), 0), encoder, task.splits["train"], 20)


def test_documents_are_taught_as_text_or_as_answers_to_their_titles() -> None:
    encoder = Encoder(loading.load_tokenizer(TINY))
    passages = [Passage("a", "Ormen", "Sails at noon."), Passage("b", "", "No title.")]
    text = Rows.of_documents(passages, encoder, "text", 2048)
    assert len(text) == 2
    assert text.labels == text.input_ids  # loss on every token
    assert encoder.decode(text.input_ids[0]) == "Ormen: Sails at noon."
    asked = Rows.of_documents(passages, encoder, "questions", 2048)
    assert len(asked) == 1  # nothing can be asked of a passage without a title
    taught = [token for token in asked.labels[0] if token != -100]
    assert encoder.decode(taught) == "Sails at noon."
    assert len(text + asked) == 3
