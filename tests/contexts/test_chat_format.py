"""From turns to tokens."""

from harness.contexts.chat_format import Encoder
from tests.inference.asking import load_tiny


def test_a_completion_ends_where_the_turn_ends() -> None:
    encoder = Encoder(load_tiny().tokenizer)
    ids = encoder.completion("red")
    assert ids[-1] == encoder.end_of_turn
    assert encoder.decode([*ids, *encoder.completion("more")]) == "red"


def test_without_a_chat_template_demonstrations_are_text() -> None:
    tokenizer = load_tiny().tokenizer
    tokenizer.chat_template = None
    turns = [("user", "Q1"), ("assistant", "A1"), ("user", "Q2")]
    text = Encoder(tokenizer).text([{"role": role, "content": content} for role, content in turns])
    assert text == "Q1\nAnswer: A1\n\nQ2\nAnswer:"
