"""Every committed configuration composes, and the commands that the files show are theirs."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from harness import catalogue, paths
from harness.adaptation import peft_model
from harness.contexts.context_settings import ContextSettings
from harness.settings import Settings
from harness.sweep.compose import register

METHODS = [entry.name for entry in catalogue.methods()]
ADAPTATIONS = {
    "zero_shot": "none", "instructed": "none", "few_shot": "none", "rag": "none", "oracle": "none", "full": "full",
    "lora": "lora", "lora_r4": "lora", "lora_r16": "lora", "qlora": "qlora", "prefix": "prefix",
    "rag_lora": "lora", "few_shot_lora": "lora", "few_shot_nearest": "none", "inject_text": "lora",
    "inject_questions": "lora", "full_bf16": "full",
}  # fmt: skip


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("HARNESS_SWEEP", str(tmp_path))
    register()

    def call(*overrides: str) -> Settings:
        with initialize_config_dir(str(paths.CONF), version_base="1.3"):
            config = compose("config", list(overrides))
        return Settings(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]

    return call


def test_the_methods_of_the_mission_are_there() -> None:
    assert set(METHODS) == set(ADAPTATIONS)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_composes_and_builds_what_its_name_says(method: str, composed: Any) -> None:
    settings = composed(f"method={method}")
    peft_model.check(settings.adaptation)
    assert settings.adaptation.name == ADAPTATIONS[method]
    assert settings.trains == (settings.adaptation.name != "none")


@pytest.mark.parametrize("kind", ["model", "experiment", "task"])
def test_every_file_of_a_group_composes(kind: str, composed: Any) -> None:
    needed = {"hub": ["model.id=o/n"], "local": ["model.path=x"], "folder": ["task.path=x"]}
    for name in (path.stem for path in (paths.CONF / kind).glob("*.yaml")):
        composed(f"{kind}={name}", *needed.get(name, []))


def test_a_group_on_the_command_line_wins_over_the_method(composed: Any) -> None:
    settings = composed("method=lora", "context=rag", "context.k=5", "adaptation.peft.r=16")
    assert (settings.context.name, settings.context.k) == ("rag", 5)
    assert (settings.adaptation.rank, settings.adaptation.peft["lora_alpha"]) == (16, 32)
    assert settings.train_context == ContextSettings("zero_shot")


def test_rag_lora_trains_in_the_context_it_is_asked_in(composed: Any) -> None:
    settings = composed("method=rag_lora", "context.k=2")
    assert settings.train_context == settings.context
    assert settings.context.k == 2


@pytest.mark.parametrize(
    "path", sorted(paths.CONF.glob("method/*.yaml")) + sorted(paths.CONF.glob("experiment/*.yaml"))
)
def test_a_file_begins_with_the_command_that_runs_it(path: Path) -> None:
    _, command, *_ = path.read_text().splitlines()
    assert command.startswith(f"# harness run {path.parent.name}={path.stem} ")


def test_every_listed_thing_has_a_line() -> None:
    for kind, entries in catalogue.KINDS.items():
        for entry in entries():
            assert len(entry.about) > 15, (kind, entry)
