"""Settings of another kind or out of range: one sentence that names the setting, before anything is started."""

from __future__ import annotations

import pytest

from harness.errors import UserError
from harness.sweep.compose import cells

WRONG = {
    "lora": """
        training.epochs=three training.epochs=0 training.epochs=-1 training.max_steps=0 training.max_steps=-2
        training.max_steps=1.5 training.learning_rate=fast training.learning_rate=0 training.learning_rate=-1e-4
        training.learning_rate=[] training.learning_rate=[1e-4,x] training.learning_rate=[1e-4,0]
        training.batch_size=0 training.batch_size=two training.batch_size=1.5 training.gradient_accumulation_steps=0
        training.gradient_checkpointing=perhaps training.max_length=0 training.max_length=-5 training.warmup=-0.1
        training.warmup=much training.max_grad_norm=-1 training.weight_decay=-1 training.validation_rows=-1
        training.early_stopping_patience=0 training.early_stopping_patience=-1 training.optimizer=adam_wrong
        training.bf16=maybe training.documents=all seed=-1 seed=one seed=1.5 seeds.train=x seeds.data=-1
        rank=0 rank=-4 rank=eight max_train_examples=0 max_train_examples=-1 max_train_examples=all
        max_eval_examples=0 max_validation_examples=-1 keep_weights=adapter keep_weights=yes reuse=yes reuse=true
        results= adaptation=none training=none model.dtype=bf16 model.dtype=fp16 model.source=web
        measure.latency_requests=-1 measure.latency_requests=few measure.warmup_requests=-1 measure.fixed_tokens=0
        measure.batch_size=0 measure.free_answers=perhaps measure.prefix_cache=2 measure.exact_memory=3
        measure.merged_items=-1 measure.retention_items=-1 train_context.name=none train_context.k=-1
    """,
    "few_shot": "context.selector=closest context.balanced=perhaps context.k=-1 context.k=0 context.k=many",
    "rag": "context.k=0 context.chunk.tokens=0 context.chunk.overlap=-1 context.retriever=words context.index=flat",
}


@pytest.mark.parametrize(
    ("method", "word"), [(method, word) for method, words in WRONG.items() for word in words.split()]
)
def test_a_wrong_value_is_named_in_one_sentence(method: str, word: str) -> None:
    with pytest.raises(UserError) as caught:
        cells(["task=handbook_qa", "model=tiny", f"method={method}", word])
    message = str(caught.value)
    assert word.partition("=")[0] in message
    assert message.count("\n") == 0 and len(message) < 250


def test_one_wrong_cell_of_a_sweep_is_named_before_the_first_one_starts() -> None:
    with pytest.raises(UserError, match=r"training.epochs=0: expected a number above 0"):
        cells(["-m", "task=port_log", "model=tiny", "method=zero_shot,lora", "training.epochs=1,0"])
