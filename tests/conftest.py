"""Real components on a tiny random model; the user's cache and the results are temporary folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.tasks.definition import load_task
from harness.tasks.task import Task
from tests.factories import write_rows

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    os.environ["HARNESS_CACHE"] = str(folder)
    return folder


def _rows(split: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{split}-{i}",
            "text": f"the {COLOURS[i % 3]} box number {i} of {split}",
            "label": COLOURS[i % 3],
            "doc_id": f"doc-{i % 3}",
            "slice": "odd" if i % 2 else "even",
        }
        for i in range(count)
    ]


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A small task folder: name the colour of a box, with a policy and a corpus."""
    folder = tmp_path / "colours"
    folder.mkdir()
    (folder / "task.yaml").write_text(
        "name: colours\nabout: Name the colour.\nprobes: behaviour\n"
        'prompt: "Which colour? {{ text }}"\nanswer: "{{ label }}"\n'
        "kind: choice\nchoices: [red, green, blue]\nmetric: accuracy\n"
        "evidence: doc_id\ninstructions: policy.md\nmax_new_tokens: 4\n"
    )
    (folder / "policy.md").write_text("Say the colour.")
    for split, count in (("train", 12), ("validation", 4), ("test", 6)):
        write_rows(folder / f"{split}.jsonl", _rows(split, count))
    corpus = [{"id": f"doc-{i}", "title": colour, "text": f"All about {colour}."} for i, colour in enumerate(COLOURS)]
    write_rows(folder / "corpus.jsonl", corpus)
    return folder


@pytest.fixture
def harness_run(colours: Path, tmp_path: Path) -> Callable[..., int]:
    """`harness run` in this process on the colours task and the tiny model; returns its exit code."""
    from harness.sweep import launch

    def call(*overrides: str) -> int:
        return launch.main(
            [
                "task=folder",
                f"task.path={colours}",
                "model=tiny",
                f"results={tmp_path / 'results'}",
                "measure.latency_requests=2",
                "measure.warmup_requests=1",
                "measure.merged_items=2",
                "measure.retention_items=null",
                *overrides,
            ]
        )

    return call


@pytest.fixture
def task(colours: Path) -> Task:
    return load_task(colours)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Where `harness_run` writes."""
    return tmp_path / "results"
