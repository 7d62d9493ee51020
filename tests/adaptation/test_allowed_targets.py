"""What a configuration may name by _target_."""

import pytest

from harness.adaptation.allowed_targets import build, check, resolve
from harness.errors import UserError


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "peft.utils.other.os.system",
        "peft.peft_model.warnings.warn",
        "peft.get_peft_model",
        "torch.load",
        "torch.nn.Linear",
        "peft.config.PretrainedConfig",
        "harness.models.loading.load",
        "peft.NoSuchConfig",
        "pefty.LoraConfig",
    ],
)
def test_what_is_not_defined_in_a_trusted_library_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="_target_"):
        resolve(path)


@pytest.mark.parametrize("path", ["peft.LoraConfig", "torch.optim.AdamW", "peft.initialize_kv_prefix_from_text"])
def test_trusted_classes_and_listed_functions_resolve(path: str) -> None:
    assert callable(resolve(path))


def test_every_nested_target_is_resolved_before_anything_is_built() -> None:
    spec = {"_target_": "peft.LoraConfig", "r": 4, "loftq_config": [{"_target_": "subprocess.run"}]}
    with pytest.raises(UserError, match=r"subprocess\.run"):
        check(spec)


def test_a_config_is_built_with_its_options() -> None:
    assert build({"_target_": "peft.LoraConfig", "r": 4, "lora_alpha": 8}).lora_alpha == 8


def test_a_wrong_option_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"peft\.LoraConfig: .*rnak"):
        build({"_target_": "peft.LoraConfig", "rnak": 4})
