"""From words on the command line to the cells of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.sweep.compose import Cell, cells, compositions


def words(*given: str) -> list[tuple[str, ...]]:
    return [cell.words for cell in cells(given)]


def test_a_sweep_has_a_cell_for_each_combination() -> None:
    assert words("-m", "method=lora,qlora", "rank=4,8") == [
        ("method=lora", "rank=4"),
        ("method=lora", "rank=8"),
        ("method=qlora", "rank=4"),
        ("method=qlora", "rank=8"),
    ]


def test_a_setting_is_left_out_for_methods_that_have_none() -> None:
    assert cells(["-m", "method=zero_shot,lora", "training.epochs=1,2"]) == [
        Cell(("method=zero_shot",), ("training.epochs=1", "training.epochs=2")),
        Cell(("method=lora", "training.epochs=1")),
        Cell(("method=lora", "training.epochs=2")),
    ]


def test_a_setting_of_a_group_that_copies_another_is_left_out() -> None:
    """rag_lora trains with the passages that it is tested with: `train_context: ${context}`."""
    assert cells(["-m", "method=lora,rag_lora", "train_context.name=zero_shot"]) == [
        Cell(("method=lora", "train_context.name=zero_shot")),
        Cell(("method=rag_lora",), ("train_context.name=zero_shot",)),
    ]


def test_a_setting_that_only_trained_methods_have_is_set_without_plus_signs() -> None:
    made = compositions(["-m", "method=lora,qlora", "training.epochs=2"])
    assert [settings.training and settings.training.epochs for settings in made] == [2, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["method=zero_shot", "training.epochs=1"], "training.epochs=1: there is no such setting for zero_shot."),
        (["contxt=rag"], "contxt=rag: there is no such setting."),
        (["method=lora,qlora"], "several values are a sweep: harness run -m"),
        (["-m", "rank=4,,8"], """quoted twice: "rank='4,,8'\""""),
        (["method="], "method takes the name of one of its files"),
        (["method=lroa"], "lroa"),
    ],
)
def test_a_mistake_is_a_sentence(given: list[str], message: str) -> None:
    with pytest.raises(UserError) as raised:
        cells(given)
    assert message in str(raised.value)


@pytest.mark.parametrize("name", ["a b", "a=b", "a,b", "a[0]", "a{b}", "it's", "a(1)", "a:b", "ä"])
def test_any_path_can_be_typed(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (made,) = compositions(["task=folder", f"task.path={folder}", f"results={folder}"])
    assert (made.task.path, made.results) == (str(folder), folder)


def test_paths_can_be_swept() -> None:
    made = compositions(["-m", "task=folder", "task.path=/data/one,/data/two"])
    assert [settings.task.path for settings in made] == ["/data/one", "/data/two"]
