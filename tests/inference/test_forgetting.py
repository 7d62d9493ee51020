"""What training makes a model forget, and that a model which learned nothing forgot nothing."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.contexts.chat_format import Encoder
from harness.inference.forgetting import Probe, bits_per_byte
from harness.models import loading
from tests.factories import read_records
from tests.tiny_model import TINY


def test_bits_per_byte_is_the_models_own_loss() -> None:
    base = loading.load(TINY, None)
    text = "The ferry sails at noon."
    ids = torch.tensor([base.tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        nats = float(base.model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
    assert bits_per_byte(base.model, Encoder(base.tokenizer), text) == pytest.approx(
        nats / math.log(2) / len(text), rel=1e-4
    )


def test_the_probe_has_three_skills() -> None:
    probe = Probe.read(40)
    assert (len(probe.passages), len(probe.instructions)) == (10, 10)
    assert len(probe.task.take("test", 40)) == 40


def test_a_trained_run_says_what_has_changed_in_general(harness_run: Callable[..., int], tmp_path: Path) -> None:
    trained = ("method=lora", "training.epochs=1", "measure.retention_items=8")
    assert harness_run(*trained, "training.learning_rate=1e-12") == 0
    (record,) = read_records(tmp_path / "results")
    assert record["retention"]["change"] == 0
    assert record["retention"]["n"] == 8
    assert set(record["retention"]["parts"]) == {"knowledge", "bits_per_byte", "instructions"}
    assert abs(record["retention"]["parts"]["bits_per_byte"]["change"]) < 1e-4
    assert harness_run(*trained, "training.learning_rate=1.0", "training.max_grad_norm=100") == 0
    by_rate = {
        r["training"]["learning_rate"]: r["retention"]["parts"]["bits_per_byte"]
        for r in read_records(tmp_path / "results")
    }
    assert abs(by_rate[1.0]["change"]) > 0.05
    assert len(list((tmp_path / "results" / ".retention").glob("*.json"))) == 1
