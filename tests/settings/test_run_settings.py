"""A run's identity: what can change its outcome and nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.settings import Settings, run_settings
from harness.tasks.definition import load_task
from harness.tasks.task import Task
from tests.tiny_model import SHAPE

LORA = {"_target_": "peft.LoraConfig", "r": 8}


def make_settings(trains: bool = False, context: str = "zero_shot", k: int | None = None, **changes: Any) -> Settings:
    config = {
        "task": {"name": "colours", "path": None, "source": {"path": None}},
        "model": {"name": "tiny", "source": "random", "shape": SHAPE, "path": None, "dtype": "float32"},
        "method": "m",
        "experiment": None,
        "context": context if isinstance(context, dict) else {"name": context} | ({"k": k} if k else {}),
        "train_context": {"name": "zero_shot"},
        "adaptation": {"quantization": None, "peft": LORA if trains else None, "initialise": None},
        "training": {"name": "sft", "learning_rate": 1e-3} if trains else {"name": None},
        "seed": 0,
        "seeds": {"train": 0, "demonstrations": 0, "data": 0},
        "rank": 8,
        "max_train_examples": None,
        "max_eval_examples": None,
        "max_validation_examples": None,
        "results": "results",
        "keep_weights": "adapters",
        "reuse": "same",
        "measure": {"batch_size": 8},
    }
    return Settings({**config, **changes})


def test_a_knob_that_is_not_used_does_not_make_another_run(task: Task) -> None:
    same = [
        make_settings(),
        make_settings(rank=16),
        make_settings(max_train_examples=3),
        make_settings(seed=1),
        make_settings(k=9),
    ]
    assert len({s.planned(task).run_id for s in same}) == 1


def test_a_knob_that_is_used_does(task: Task) -> None:
    seeds = {"train": 1, "demonstrations": 0, "data": 0}
    others = {"train": 0, "demonstrations": 1, "data": 0}
    different = [
        make_settings(),
        make_settings(max_eval_examples=3),
        make_settings(context="few_shot"),
        make_settings(context="few_shot", k=9),
        make_settings(context="few_shot", max_train_examples=3),
        make_settings(context="few_shot", seeds=others),
        make_settings(True),
        make_settings(True, max_train_examples=3),
        make_settings(True, seeds=seeds),
        make_settings(True, train_context={"name": "rag"}),
        make_settings(True, training={"name": "sft", "learning_rate": 2e-3}),
        make_settings(measure={"batch_size": 4}),
    ]
    assert len({s.planned(task).run_id for s in different}) == len(different)


def test_a_setting_that_came_later_leaves_earlier_cells_what_they_were(task: Task) -> None:
    as_before = make_settings(measure={"batch_size": 8, "free_answers": True, "cached_requests": None})
    assert as_before.cell(task) == make_settings().cell(task)
    others = ({"free_answers": False}, {"cached_requests": 0}, {"fixed_tokens": None})
    assert len({make_settings(measure={"batch_size": 8, **one}).cell(task) for one in ({}, *others)}) == 4


def test_new_versions_make_another_run_of_the_same_cell(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_settings().planned(task).run_id
    monkeypatch.setattr(run_settings, "environment_identity", lambda: {"peft": "99"})
    after = make_settings().planned(task).run_id
    assert before.split("-")[0] == after.split("-")[0]
    assert before != after


def test_other_rows_make_another_run(task: Task, colours: Path) -> None:
    before = make_settings().planned(task).run_id
    (colours / "policy.md").write_text("Another policy.")
    assert make_settings().planned(load_task(colours)).run_id != before


@pytest.mark.parametrize(
    ("quantization", "peft", "trains", "name"),
    [
        (None, None, False, "none"),
        (None, None, True, "full"),
        (None, "peft.LoraConfig", True, "lora"),
        ({"load_in_4bit": True}, "peft.LoraConfig", True, "qlora"),
        ({"load_in_4bit": True}, None, False, "none_4bit"),
        (None, "peft.PrefixTuningConfig", True, "prefix"),
        (None, "peft.IA3Config", True, "ia3"),
    ],
)
def test_the_parts_name_the_adaptation(quantization: Any, peft: str | None, trains: bool, name: str) -> None:
    parts = {"quantization": quantization, "peft": {"_target_": peft} if peft else None, "initialise": None}
    assert make_settings(trains, adaptation=parts).adaptation.name == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"context": {"name": "few_shot", "k": 2, "selector": "best"}},
            "context.selector='best': expected one of nearest, random",
        ),
        ({"context": {"name": "few_shot", "k": 0}}, "context.k=0: expected a whole number of at least 1"),
        ({"context": {"name": "rag", "retriever": "psychic"}}, "context.retriever='psychic': expected one of"),
        ({"context": {"name": "rag", "index": "annoy"}}, "context.index='annoy': expected one of exact, hnsw, ivf"),
        ({"train_context": {"name": "rags"}}, "train_context.name='rags': expected one of"),
        ({"model": {"name": "m", "source": "disk"}}, "model.source='disk': expected one of gguf_package, hub, local"),
        ({"model": {"name": "m", "source": "hub", "dtype": "int3"}}, "model.dtype='int3': expected one of"),
        ({"task": {"name": 3}}, "task.name=3: expected text"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_loaded(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make_settings(**changes)
