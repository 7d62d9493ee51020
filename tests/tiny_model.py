"""A model of random weights that loads in no time, and settings that train it."""

from __future__ import annotations

from typing import Any

from harness.models.model_settings import ModelSettings
from harness.settings import Settings, TrainingSettings
from harness.sweep.compose import compositions

SHAPE: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.5,
}
TINY = ModelSettings("tiny", "random", shape=SHAPE)
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
LORA = {
    "_target_": "peft.LoraConfig",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": "all-linear",
    "task_type": "CAUSAL_LM",
}
SFT = TrainingSettings(epochs=2, batch_size=4)


def tiny_settings(*words: str) -> Settings:
    """Settings of one run of a tiny model with wide layers, in batches of two."""
    wide = ["model=tiny", "model.shape.intermediate_size=512", "++training.batch_size=2"]
    (settings,) = compositions([*wide, *words])
    return settings
