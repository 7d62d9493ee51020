"""The documentation shows commands and settings that exist."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from typer.main import get_command

from harness import cli, paths
from harness.adaptation import peft_model
from harness.check.margins import RESOURCES
from harness.check.outcome import EXIT_CODES
from harness.cli import app
from harness.records.record import Record
from harness.settings import Settings
from harness.sweep.compose import register

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^\s*(harness [^`#\n]+?)(?:\s{3,}.*)?$", re.MULTILINE)


def commands() -> list[str]:
    text = "\n".join(page.read_text() for page in PAGES)
    blocks = "\n".join(re.findall(r"```\n(.*?)```", text, re.DOTALL))
    inline = re.findall(r"`(harness [^`]+)`", text)
    return sorted(set(COMMAND.findall(blocks)) | {" ".join(line.split()) for line in inline})


def test_there_are_commands_to_check() -> None:
    assert len(commands()) >= 10


@pytest.mark.parametrize("command", commands())
def test_a_shown_command_exists_and_its_settings_compose(
    command: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, verb, *words = command.replace("DIR", str(colours)).replace("my_task", str(colours)).split()
    assert verb in get_command(app).commands  # type: ignore[attr-defined]
    if verb != "run":
        return
    monkeypatch.setenv("HARNESS_SWEEP", str(tmp_path))
    register()
    first = [w if "[" in w or "=" not in w else w.split(",")[0] for w in words if w != "-m"]
    with initialize_config_dir(str(paths.CONF), version_base="1.3"):
        config = compose("config", first)
    peft_model.check(Settings(OmegaConf.to_container(config, resolve=True)).adaptation)  # type: ignore[arg-type]


def test_every_part_of_a_record_is_explained() -> None:
    text = (ROOT / "docs" / "records.md").read_text()
    assert [field.name for field in fields(Record) if f"`{field.name}`" not in text] == []


def test_the_yaml_that_the_pages_show_is_yaml() -> None:
    for page in PAGES:
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
            assert isinstance(yaml.safe_load(block), dict)


def test_the_page_shows_commands_that_parse() -> None:
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    shown = [line.split("   ")[0] for line in page.splitlines() if line.strip().startswith("harness check")]
    assert len(shown) >= 4
    command = get_command(cli.app).commands["check"]  # type: ignore[attr-defined]
    for line in shown:
        context = command.make_context("check", line.split()[2:])
        assert context.params["baseline"] and context.params["candidate"]


def test_the_page_tells_the_defaults_and_the_exit_codes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    shown = yaml.safe_load(page.split("## Margins")[1].split("```yaml")[1].split("```")[0])
    assert shown["resources"] == RESOURCES
    for verdict, code in EXIT_CODES.items():
        assert re.search(rf"^\| {code} \|.*`{verdict}`", page, re.MULTILINE)
