"""Scoring choices against the plainest way to do the same."""

import pytest

from harness.contexts.chat_format import Encoder
from harness.models import loading
from tests.inference.asking import CHOICES, prompt_of, score_all, score_separately


def test_a_choice_is_scored_as_the_sequence_that_it_is(base: loading.Base) -> None:
    encoder, prompt = Encoder(base.tokenizer), prompt_of(base)
    expected = [score_separately(base.model, prompt, encoder.completion(choice)) for choice in CHOICES]
    assert score_all(base, [prompt], None) == [pytest.approx(expected, abs=1e-3)]
