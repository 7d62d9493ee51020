"""The number types of a run: `model.dtype: auto` resolved for a device, the same for training and answering.

                        a GPU with native bfloat16                    elsewhere
    base, untrained     bfloat16                                      float32
    adapters            bfloat16 base, float32 adapter, autocast      float32
    full fine-tuning    float32 weights (masters), bfloat16 autocast  float32

autocast computes matrix products in bfloat16 and keeps float32 weights for the optimizer, which would lose small
updates in bfloat16. method=full_bf16 trains bfloat16 weights. A type that is named in the settings is used as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AUTO = "auto"


def resolved(config: Mapping[str, Any], native_bfloat16: bool) -> dict[str, Any]:
    """A configuration with `model.dtype` and, on a GPU, `training.bf16` as they will be used."""
    model, training, parts = config["model"], config["training"], config["adaptation"]
    if model["dtype"] != AUTO:
        half = model["dtype"] == "bfloat16"
    else:
        half = native_bfloat16
        masters = training.get("name") and not (parts["peft"] or parts["quantization"])
        model = {**model, "dtype": "bfloat16" if half and not masters else "float32"}
    if native_bfloat16 and training.get("name") and training.get("bf16") is None:
        training = {**training, "bf16": half}
    return {**config, "model": model, "training": training}
