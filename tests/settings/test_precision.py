"""`model.dtype: auto` resolved for a device, the same for training and answering."""

from __future__ import annotations

from typing import Any

import pytest

from harness.records.measures import precision
from harness.settings.precision import resolved
from harness.sweep.compose import compositions

NATIVE, ELSEWHERE = True, False
TRAINED: dict[str, Any] = {"name": "sft", "bf16": None}
ADAPTER = {"_target_": "peft.LoraConfig"}


def config(dtype: str, training: dict[str, Any], peft: object = None, quantization: object = None) -> dict[str, Any]:
    parts = {"peft": peft, "quantization": quantization}
    return {"model": {"dtype": dtype}, "training": training, "adaptation": parts}


@pytest.mark.parametrize(
    ("what", "native", "dtype", "bf16", "named"),
    [
        (config("auto", {"name": None}), NATIVE, "bfloat16", None, "bfloat16"),
        (config("auto", TRAINED, ADAPTER), NATIVE, "bfloat16", True, "bfloat16"),
        (
            config("auto", TRAINED, ADAPTER, {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}),
            NATIVE,
            "bfloat16",
            True,
            "4-bit nf4, bfloat16",
        ),
        (config("auto", TRAINED), NATIVE, "float32", True, "float32, bfloat16 autocast"),
        (config("bfloat16", TRAINED), NATIVE, "bfloat16", True, "bfloat16"),
        (config("float32", TRAINED, ADAPTER), NATIVE, "float32", False, "float32"),
        (config("auto", {**TRAINED, "bf16": False}), NATIVE, "float32", False, "float32"),
        (config("auto", {"name": None}), ELSEWHERE, "float32", None, "float32"),
        (config("auto", TRAINED), ELSEWHERE, "float32", None, "float32"),
        (config("auto", {**TRAINED, "bf16": True}), ELSEWHERE, "float32", True, "float32, bfloat16 autocast"),
    ],
    ids=[
        "untrained", "lora", "qlora", "full", "full_bf16", "float32 as named", "no autocast as named", "CPU",
        "CPU, full", "CPU, autocast as named",
    ],
)  # fmt: skip
def test_the_type_of_a_run(what: dict[str, Any], native: bool, dtype: str, bf16: bool | None, named: str) -> None:
    done = resolved(what, native)
    assert (done["model"]["dtype"], done["training"].get("bf16"), precision(done)) == (dtype, bf16, named)


def test_a_record_that_does_not_say_has_no_precision() -> None:
    assert precision({}) is None


def test_an_estimate_is_for_the_device_that_is_asked_about() -> None:
    words = ["model=tiny", "task=port_log", "method=lora"]
    assert [compositions(words, device)[0].model.dtype for device in ("cuda", "cpu")] == ["bfloat16", "float32"]
