"""Which rows are shown as demonstrations, and that nobody sees its own answer there."""

import dataclasses
from dataclasses import replace

import pytest

from harness.contexts.chat_format import Encoder
from harness.contexts.context import bind
from harness.contexts.context_settings import ContextSettings
from harness.errors import UserError
from harness.models.loading import load_tokenizer
from harness.tasks.task import Task
from tests.tiny_model import TINY

EMBEDDER = "all-minilm-l6-v2"


FEW = ContextSettings("few_shot", balanced=False, embedder=EMBEDDER)


def test_demonstrations_are_turns_before_the_question(task: Task) -> None:
    context = bind(replace(FEW, k=3), task, task.splits["train"], seed=0)
    messages = context.render(task.splits["test"][0])
    assert [m["role"] for m in messages] == ["user", "assistant"] * 3 + ["user"]
    assert messages[-1]["content"] == task.splits["test"][0].prompt


def test_a_row_never_sees_itself_and_still_sees_k_others(task: Task) -> None:
    pool = task.splits["train"]
    context = bind(replace(FEW, k=len(pool) - 1), task, pool, seed=0)
    for example in pool:
        shown = [m["content"] for m in context.render(example)[:-1] if m["role"] == "user"]
        assert len(shown) == len(pool) - 1
        assert example.prompt not in shown


def test_the_seed_draws_the_demonstrations(task: Task) -> None:
    def shown(seed: int) -> list[str]:
        context = bind(replace(FEW, k=4), task, task.splits["train"], seed)
        return [m["content"] for m in context.render(task.splits["test"][0])]

    assert shown(1) == shown(1)
    assert shown(1) != shown(2)


@pytest.mark.parametrize("k", [12, 99])
def test_more_demonstrations_than_rows_is_refused(task: Task, k: int) -> None:
    with pytest.raises(UserError, match=f"context.k={k}"):
        bind(replace(FEW, k=k), task, task.splits["train"], seed=0)


def test_balanced_demonstrations_take_the_labels_in_turn(task: Task) -> None:
    for seed in range(5):
        context = bind(replace(FEW, k=6, balanced=True), task, task.splits["train"], seed)
        shown = [d.answer for d in context.gather(task.splits["test"][0]).demonstrations]
        assert sorted(shown[:3]) == sorted(shown[3:]) == ["blue", "green", "red"]


def test_the_nearest_demonstrations_stand_next_to_the_question(task: Task) -> None:
    pool = task.splits["train"]
    context = bind(replace(FEW, k=4, selector="nearest"), task, pool, seed=0)
    asked = dataclasses.replace(task.splits["test"][0], query=pool[7].query, id="copy")
    assert context.gather(asked).demonstrations[-1].id == pool[7].id
    assert pool[7].id not in {d.id for d in context.gather(pool[7]).demonstrations}
    assert len(context.gather(pool[7]).demonstrations) == 4


def test_demonstrations_that_do_not_fit_are_left_out_from_the_front_and_counted(task: Task) -> None:
    encoder = Encoder(load_tokenizer(TINY))
    context, row = bind(replace(FEW, k=5), task, task.splits["train"], seed=0), task.splits["test"][0]
    whole = encoder.fit(context, row, 10_000)
    assert whole.left_out == 0
    tight = encoder.fit(context, row, len(whole.ids) - 1)
    assert tight.left_out == 1
    assert context.gather(row).demonstrations[-1].prompt in tight.text
    assert context.gather(row).demonstrations[0].prompt not in tight.text
    assert encoder.fit(context, row, 1).left_out == 5  # and the question stays, too long or not
