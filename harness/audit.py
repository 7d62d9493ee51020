"""Checks of a task's data, before you spend money on it.

    found = audit(Path("tasks/ticket_routing"))
    found.defects        # [Defect("copied_item", "test-017 and train-203", "the same question in two splits ...")]

A defect makes a figure wrong (an item that training has seen, a gold answer that its own scorer rejects); a note is
something to know (a third of the rows have a close neighbour).
"""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import files, paths
from harness.errors import RepeatedId, UserError
from harness.inference.baselines import baselines, with_intervals
from harness.installation import REMEDY
from harness.stats import Estimate
from harness.tasks.definition import load_task
from harness.tasks.duplicates import SAME, alike, without_frame
from harness.tasks.metrics import normalise
from harness.tasks.scoring import scorer
from harness.tasks.sql import Database, leaves_ties
from harness.tasks.task import SPLITS, Example, Task
from harness.text import with_interval
from harness.typed import read_yaml, typed

CLOSE = 0.9  # cosine of embeddings from which two questions are looked at together
CUT = 0.01  # share of gold answers longer than what is generated from which that is a defect
LEAKS = 0.2  # share of prompts that hold their own answer from which that is a defect
_NEIGHBOURS = 10
_BLOCK = 2048  # questions that are compared with all others at a time
_BLOCK_OF_WORDS = 256  # the same by words, where a row of cosines has a place for every question
_NEEDS_RUN = "lengths, the nearest-row baseline and questions that are close in meaning, which need [run]"
_DISCORDANT = 0.2  # share of items on which two methods differ, for the number of items needed
_POWER = (1.959964 + 0.841621) ** 2  # two-sided 5 %, 80 % power

Step = Callable[[str, int, int], None]
Near = tuple[np.ndarray, np.ndarray]
"""Cosines and numbers of the texts nearest to one."""


@dataclass(frozen=True)
class Defect:
    """Something that makes figures wrong."""

    kind: str
    where: str
    what: str


@dataclass
class Audit:
    """Everything found."""

    task: str
    rows: dict[str, int] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    """By split, how often each label occurs, if there is a fixed set."""
    baselines: dict[str, Estimate] = field(default_factory=dict)
    """Measured on validation, so that looking at them spends no test."""
    lengths: dict[str, dict[str, float]] = field(default_factory=dict)
    """Tokens of prompts and answers."""
    items_needed: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, list[str]] = field(default_factory=dict, repr=False)
    """Ids by split that a clean copy leaves out."""

    def as_data(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self).items() if name != "repeated"}


def audit(
    folder: Path,
    source_path: Path | None = None,
    tokenizer: Any = None,
    window: int | None = None,
    step: Step = lambda *_: None,
    by_meaning: bool = True,
) -> Audit:
    """Check a task; one that cannot be read is a defect, with file and line.

    tokenizer, window: of the model that is to answer; lengths are left out without them. by_meaning: questions are
    compared by their embeddings, which needs `[run]`; False: by their words.
    """
    try:
        task = load_task(folder, source_path)
    except UserError as cause:
        place, _, what = str(cause).partition(": ")
        kind = "repeated_id" if isinstance(cause, RepeatedId) else "unreadable"
        return Audit(folder.name, defects=[Defect(kind, place, what)])
    result = Audit(task.name, {split: len(task.splits[split]) for split in SPLITS})
    _check_scorer(task, result)
    _check_evidence(task, result)
    _check_labels(task, result)
    _check_leaks(task, result)
    _check_copies(task, result, step, by_meaning)
    result.notes += [
        f"{count} rows of {split} are also in a later split and are left out (task.yaml: leave_out_copies)"
        for split, count in task.left_out.items()
    ]
    result.items_needed = {
        f"{points} points": math.ceil(_POWER * _DISCORDANT / (points / 100) ** 2) for points in (2, 5)
    }
    if task.splits["train"] and task.splits["validation"]:
        rows, items = task.splits["train"], task.splits["validation"]
        scores = baselines(task, rows, items, by_meaning=by_meaning)
        result.baselines = with_intervals(scores, items)
    if tokenizer is not None:
        _measure_lengths(task, result, tokenizer, window)
    if not by_meaning:
        result.notes.append(f"skipped: {_NEEDS_RUN}: {REMEDY}")
    return result


def model_window(name: str) -> tuple[Any, int | None]:
    """The tokenizer of a configured model and how many tokens it takes; UserError if there is no such model."""
    from transformers import AutoConfig

    from harness.models import loading
    from harness.models.model_settings import ModelSettings

    path = next(
        (f / "model" / f"{name}.yaml" for f in paths.conf_folders() if (f / "model" / f"{name}.yaml").exists()), None
    )
    if path is None:
        raise UserError(f"--model {name}: there is no conf/model/{name}.yaml.")
    settings = typed(read_yaml(path), ModelSettings, f"{path}: ")
    loading.make_ready(settings)
    location, revision = loading.locate(settings)
    config = AutoConfig.from_pretrained(location, revision=revision, trust_remote_code=False)
    return loading.load_tokenizer(settings), getattr(config, "max_position_embeddings", None)


def as_text(result: Audit) -> str:
    """The result as text."""
    lines = [f"{result.task}: " + ", ".join(f"{count} {split}" for split, count in result.rows.items())]
    for name, counts in result.lengths.items():
        lines.append(
            f"  {name:8} {counts['mean']:.0f} tokens on average, 95 % up to {counts['p95']:.0f}, "
            f"at most {counts['max']:.0f}"
        )
    for split, labels in result.labels.items():
        counts_shown = ", ".join(f"{label} {count}" for label, count in list(labels.items())[:6])
        lines.append(
            f"  labels   {split}: {counts_shown}" + (f" and {len(labels) - 6} more" if len(labels) > 6 else "")
        )
    for name, estimate in result.baselines.items():
        lines.append(f"  baseline {name}: {with_interval(estimate)} on validation")
    for name, count in result.items_needed.items():
        have = result.rows.get("test", 0)
        lines.append(
            f"  power    {count} items tell {name} apart (a fifth of the items differing, 80 % power); there are {have}"
        )
    lines += [f"  note     {note}" for note in result.notes]
    lines += [f"  DEFECT   {defect.kind}: {defect.where}: {defect.what}" for defect in result.defects]
    return "\n".join([*lines, f"{len(result.defects)} defects" if result.defects else "no defect"])


def write_clean(task_folder: Path, result: Audit, target: Path) -> None:
    """Copy a task's folder without duplicates; of a duplicate the test item stays."""
    if target.exists():
        raise UserError(f"--write-clean {target}: exists already.")
    with files.draft_folder(target) as draft:
        shutil.copytree(task_folder, draft, dirs_exist_ok=True)
        for split, ids in result.repeated.items():
            path = draft / f"{split}.jsonl"
            lines = path.read_text(encoding="utf-8").split("\n")
            path.write_text("\n".join(line for line in lines if not _is_row(line, set(ids))), encoding="utf-8")


def _is_row(line: str, ids: set[str]) -> bool:
    return bool(line.strip()) and str(json.loads(line)["id"]) in ids


def _check_scorer(task: Task, result: Audit) -> None:
    """A gold answer scores 1 under the task's own scorer, and an empty one 0."""
    judge = scorer(task)
    rejected = [e for split in SPLITS for e in task.splits[split] if judge(e.answer, e)[task.metric] < 1 - 1e-9]
    rewarded = [e for split in SPLITS for e in task.splits[split] if judge("", e)[task.metric] != 0.0]
    result.defects += _counted(
        "rejected_answer", rejected, "the scorer gives the gold answer less than 1", lambda e: e.answer
    )
    result.defects += _counted(
        "rewarded_silence", rewarded, "the scorer gives an empty answer more than 0", lambda e: e.answer
    )
    if task.kind == "sql":
        _check_queries(task, result)


def _check_queries(task: Task, result: Audit) -> None:
    databases = [Database(script, name) for name, script in task.databases.items()]
    examples = [e for split in SPLITS for e in task.splits[split]]
    empty = [e for e in examples if not any(database.run(e.answer).rows for database in databases)]
    tied = [e for e in examples if any(leaves_ties(database, e.answer) for database in databases)]
    result.defects += _counted(
        "empty_result", empty, "the gold query returns nothing, so any empty result is right", lambda e: e.answer
    )
    result.defects += _counted(
        "ties", tied, "what the gold query returns depends on the order of the tables' rows", lambda e: e.answer
    )


def _check_evidence(task: Task, result: Audit) -> None:
    """Gold passages exist, and hold an answer if an answer is a piece of text."""
    texts = {passage.document: passage for passage in task.corpus}
    items = [e for e in task.splits["test"] if e.evidence]
    missing = [e for e in items if not set(e.evidence) <= set(texts)]
    result.defects += _counted(
        "missing_evidence", missing, "the gold passage is not among the documents", lambda e: e.evidence[0]
    )
    if task.kind == "text":
        silent = [e for e in items if e not in missing and not _answered(e, [texts[d].text for d in e.evidence])]
        result.defects += _counted(
            "silent_evidence", silent, "the gold passage holds none of the answers", lambda e: e.answer
        )


def _answered(example: Example, texts: Sequence[str]) -> bool:
    text = " ".join(texts)
    held = f" {normalise(text)} "
    return any(a.lower() in text.lower() or f" {normalise(a)} " in held for a in example.answers)


def _check_labels(task: Task, result: Audit) -> None:
    if task.kind != "choice" or len({e.choices for e in task.splits["test"]}) > 1:
        return
    for split in SPLITS:
        result.labels[split] = dict(Counter(e.answer for e in task.splits[split]).most_common())
    if task.splits["train"] and len(result.labels["train"]) == 1:
        result.defects.append(
            Defect("one_label", "train", f"every row has the label {task.splits['train'][0].answer!r}")
        )
    unseen = sorted(set(result.labels["test"]) - set(result.labels["train"]))
    if task.splits["train"] and unseen:
        result.notes.append(f"{len(unseen)} labels of test are not in train: {', '.join(unseen[:5])}")


def _check_leaks(task: Task, result: Audit) -> None:
    """Answers that are in their own question, except in extraction, where they must be."""
    if task.kind == "json":
        return
    items = [e for e in task.splits["test"] if e.answer != task.abstains]  # which every prompt may name
    leaking = [e for e in items if _stands_in(e.answer, e.prompt) and not _all_choices_stand(e)]
    share = len(leaking) / max(1, len(items))
    if share >= LEAKS:
        result.defects.append(
            Defect("leaked_answer", leaking[0].id, f"the answer is in {share:.0%} of the test prompts")
        )
    elif leaking:
        result.notes.append(f"the answer is in {share:.0%} of the test prompts, for example in {leaking[0].id}")


def _stands_in(answer: str, prompt: str) -> bool:
    return bool(normalise(answer)) and f" {normalise(answer)} " in f" {normalise(prompt)} "


def _all_choices_stand(example: Example) -> bool:
    """Whether the prompt names the other choices as well, so that naming the right one says nothing."""
    others = [choice for choice in example.choices if choice != example.answer]
    return bool(others) and all(_stands_in(choice, example.prompt) for choice in others)


def _check_copies(task: Task, result: Audit, step: Step, by_meaning: bool) -> None:
    """Duplicate questions: a defect if they are in two splits with the same answer, otherwise a note."""
    placed = [(split, example) for split in SPLITS for example in task.splits[split]]
    questions = without_frame([example.query for _, example in placed])
    crossing, inside, other = [], [], 0
    for i, j in _close_pairs(questions, step, by_meaning):
        (left, one), (right, two) = placed[i], placed[j]
        same = alike(questions[i], questions[j]) >= SAME and one.answer == two.answer
        if same and left != right:
            crossing.append((placed[i], placed[j]))
        elif same and normalise(questions[i]) == normalise(questions[j]):
            inside.append((placed[i], placed[j]))
        else:
            other += 1
    for (left, one), (right, two) in crossing:
        gone, kept = (one, two) if SPLITS.index(left) < SPLITS.index(right) else (two, one)
        result.repeated.setdefault(min((left, right), key=SPLITS.index), []).append(gone.id)
        result.defects.append(
            Defect(
                "copied_item",
                f"{kept.id} and {gone.id}",
                f"the same question with the same answer: {_short(kept.query)}",
            )
        )
    for (left, _), (_, two) in inside:
        result.repeated.setdefault(left, []).append(two.id)
    if inside:
        result.notes.append(
            f"{len(inside)} questions occur twice in their split, "
            f"for example {inside[0][0][1].id} and {inside[0][1][1].id}"
        )
    if other and by_meaning:
        result.notes.append(f"{other} pairs of questions are close (cosine over {CLOSE:g}) and not the same")


def _close_pairs(texts: Sequence[str], step: Step, by_meaning: bool) -> Iterator[tuple[int, int]]:
    """Pairs with a cosine over a cut among each text's nearest neighbours, each once; compared block by block."""
    nearest, cut = (_nearest_by_meaning, CLOSE) if by_meaning else (_nearest_by_words, SAME - 1e-6)
    seen: set[tuple[int, int]] = set()
    for i, (scores, others) in enumerate(nearest(texts, min(_NEIGHBOURS + 1, len(texts)), step)):
        for score, j in zip(scores, others, strict=True):
            pair = (min(i, int(j)), max(i, int(j)))
            if score > cut and i != j and pair not in seen:
                seen.add(pair)
                yield pair


def _nearest_by_meaning(texts: Sequence[str], most: int, step: Step) -> Iterator[Near]:
    import faiss

    from harness.embedding import PACKAGED_EMBEDDER, embed

    vectors = embed(list(texts), PACKAGED_EMBEDDER, lambda done, total: step("embedding", done, total))
    for start in range(0, len(texts), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK])
        yield from zip(*faiss.knn(block, vectors, most, metric=faiss.METRIC_INNER_PRODUCT), strict=True)
        step("comparing", min(start + _BLOCK, len(texts)), len(texts))


def _nearest_by_words(texts: Sequence[str], most: int, step: Step) -> Iterator[Near]:
    """By the cosine of the sets of words, which is at least `alike` if no word occurs twice."""
    from sklearn.feature_extraction.text import HashingVectorizer

    words = {"analyzer": lambda text: text.lower().split(), "binary": True, "alternate_sign": False}
    vectors = HashingVectorizer(**words, dtype=np.float32).transform(texts)  # of length 1
    for start in range(0, len(texts), _BLOCK_OF_WORDS):
        cosines = (vectors[start : start + _BLOCK_OF_WORDS] @ vectors.T).toarray()
        others = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
        yield from zip(np.take_along_axis(cosines, others, axis=1), others, strict=True)
        step("comparing", min(start + _BLOCK_OF_WORDS, len(texts)), len(texts))


def _measure_lengths(task: Task, result: Audit, tokenizer: Any, window: int | None) -> None:
    from harness.contexts.chat_format import Encoder
    from harness.contexts.context import Context

    encoder, bare = Encoder(tokenizer), Context("zero_shot")
    examples = task.splits["test"]
    prompts = [len(encoder.prompt(bare.render(example))) for example in examples]
    answers = [len(encoder.completion(example.answer)) for example in examples]
    for name, counts in (("prompt", prompts), ("answer", answers)):
        result.lengths[name] = {
            "mean": float(np.mean(counts)),
            "p95": float(np.percentile(counts, 95)),
            "max": max(counts),
        }
    free = [] if task.kind == "choice" else list(zip(examples, answers, strict=True))
    cut = [example for example, count in free if count > task.max_new_tokens]
    message = f"the gold answer is longer than max_new_tokens={task.max_new_tokens}"
    if len(cut) >= CUT * len(examples):
        result.defects += _counted("cut_answer", cut, message, lambda e: e.answer)
    elif cut:
        result.notes.append(f"{message} in {len(cut)} test rows, for example {cut[0].id}")
    if window is not None:
        long = [e for e, count in zip(examples, prompts, strict=True) if count + task.max_new_tokens > window]
        result.defects += _counted(
            "too_long", long, f"prompt and answer exceed the model's {window} tokens", lambda e: e.prompt
        )


def _counted(kind: str, examples: Sequence[Example], what: str, show: Callable[[Example], str]) -> list[Defect]:
    """One defect for all examples that have it, with how many they are and what the first looks like."""
    if not examples:
        return []
    first = examples[0]
    more = f" and {len(examples) - 1} more" if len(examples) > 1 else ""
    return [Defect(kind, f"{first.id}{more}", f"{what}: {_short(show(first))}")]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
