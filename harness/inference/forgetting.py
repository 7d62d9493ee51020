"""Forgetting: a small probe of general skills, answered before and after training.

Three skills, from the folder tasks/retention: general knowledge (choices by likelihood, through the chat template),
plain English (bits per byte of prose), and following instructions (a pattern in the answer). Before is the same base in
the precision that was trained, measured once for a model and kept beside the results.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness import files, paths
from harness.contexts.chat_format import Encoder
from harness.contexts.context import Context
from harness.inference import generate
from harness.inference.evaluate import Respondent, answer
from harness.inference.shared_prefix import SharedPrefix
from harness.models import loading
from harness.models.loading import Base
from harness.progress import Progress
from harness.records.record import Change, Retention
from harness.settings import Measure, Settings, environment_identity
from harness.stats import paired_difference
from harness.tasks.definition import load_task, read_rows
from harness.tasks.reply_rules import Rule, as_rule
from harness.tasks.task import Task

_FOLDER = paths.TASKS / "retention"
_SHARE = 4  # a passage and an instruction for every so many questions
_LONGEST = 32  # tokens of an answer to an instruction
KNOWLEDGE, PROSE, INSTRUCTIONS = "knowledge", "bits_per_byte", "instructions"

Skills = dict[str, dict[str, float]]
"""By skill, each item's figure by its id: 1 or 0, or bits per byte."""


@dataclass(frozen=True)
class Probe:
    """The items of the probe."""

    task: Task
    """General knowledge, as a task of kind choice."""
    questions: int
    """How many of its items are asked."""
    passages: Mapping[str, str]
    instructions: Mapping[str, tuple[str, Rule]]

    @classmethod
    def read(cls, questions: int) -> Probe:
        size = max(1, questions // _SHARE)
        instructions = read_rows(_FOLDER / "instructions.jsonl")[:size]
        return cls(
            task=load_task(_FOLDER),
            questions=questions,
            passages={row["id"]: row["text"] for row in read_rows(_FOLDER / "passages.jsonl")[:size]},
            instructions={
                row["id"]: (row["prompt"], as_rule({"name": row["id"], **row["check"]}, row["id"]))
                for row in instructions
            },
        )


def retention(settings: Settings, base: Base, progress: Progress) -> Retention:
    """A trained model's loss of general skill: a record's `retention`."""
    probe = Probe.read(settings.measure.retention_items or 0)
    before = _before(settings, probe, progress)
    after = measure(base, probe, settings.measure, progress, "retention")
    parts = {skill: _change(before[skill], after[skill]) for skill in before}
    return Retention(**vars(parts[KNOWLEDGE]), metric="accuracy", parts=parts)


def measure(base: Base, probe: Probe, how: Measure, progress: Progress, label: str) -> Skills:
    """A model's general skills, item by item."""
    respondent = Respondent(probe.task, base, Context("zero_shot"), how, progress)
    predictions = answer(respondent, probe.task.take("test", probe.questions), label)
    encoder = respondent.encoder
    bits = {id: bits_per_byte(base.model, encoder, text) for id, text in probe.passages.items()}
    prompts = [
        encoder.prompt([{"role": "user", "content": instruction}]) for instruction, _ in probe.instructions.values()
    ]
    prefix = SharedPrefix.of(base.model, prompts) if how.prefix_cache else None
    replies = generate.generate(
        base.model, encoder, prompts, _LONGEST, how.batch_size, prefix, progress.labelled(label)
    )
    kept = {
        id: float(rule.kept(encoder.decode(ids), {}))
        for (id, (_, rule)), ids in zip(probe.instructions.items(), replies, strict=True)
    }
    known = {prediction.id: prediction.score for prediction in predictions if prediction.score is not None}
    return {KNOWLEDGE: known, PROSE: bits, INSTRUCTIONS: kept}


@torch.inference_mode()
def bits_per_byte(model: Any, encoder: Encoder, text: str) -> float:
    """Negative log-likelihood in bits of a text's tokens after the first, by the text's length in UTF-8 bytes."""
    ids = torch.tensor([encoder.tokenizer(text, add_special_tokens=False)["input_ids"]], device=model.device)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -ids.shape[1] : -1].float()
    nats = -logits.log_softmax(-1).gather(-1, ids[0, 1:, None]).sum()
    return float(nats) / math.log(2) / len(text.encode())


def _before(settings: Settings, probe: Probe, progress: Progress) -> Skills:
    """The untrained base's skills, from a file beside the results if an earlier run left them."""
    adaptation = settings.adaptation
    about = settings.config["model"], adaptation.quantization
    parts = [*about, probe.questions, probe.task.data_sha256, environment_identity()]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(settings.results) / ".retention"
    path = folder / f"{key}.json"
    with files.lock(Path(settings.results), f"retention-{key}"):
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            untrained = loading.load(settings.model, adaptation.quantization)
            skills = measure(untrained, probe, settings.measure, progress, "retention, before")
            files.write(path, json.dumps(skills))
        return json.loads(path.read_text(encoding="utf-8"))


def _change(before: Mapping[str, float], after: Mapping[str, float]) -> Change:
    """Means before and after, and the paired change with its interval, items as the unit."""
    shared = [id for id in before if id in after]
    values = [before[id] for id in shared], [after[id] for id in shared]
    difference = paired_difference(*values)
    start, end = (sum(one) / len(shared) for one in values)
    return Change(start, end, difference.value, difference.low, difference.high, difference.n)
