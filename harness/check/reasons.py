"""Sentences that explain a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.check.gate import Evidence, items_needed, seeds_needed
from harness.check.outcome import Outcome, TaskOutcome
from harness.records import measures
from harness.records.methods import Method
from harness.records.record import Failure, Record
from harness.stats import FEWEST_SEEDS, LEVEL
from harness.text import plain


def reasons(outcome: Outcome, unshared: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Sentences on tasks, the whole, resources and seeds. unshared: by option, the tasks that only this side has."""
    for task in outcome.tasks:
        yield from (f"{plain(task.task)}: {remark}." for remark in task.remarks)
        if task.fallen and task.evidence:
            yield _drop(task, task.evidence)
    yield from _overall(outcome)
    yield from (
        f"{ratio.figure.title} is worse: {ratio.value:.2f} times the baseline's, above {1 + ratio.margin:.2f}."
        for ratio in outcome.resources
        if ratio.decides and ratio.verdict == "worse"
    )
    if outcome.about == "checkpoint":
        few = f"fewer than {FEWEST_SEEDS} training seeds ({_counts(outcome)})"
        yield f"This verdict is about this checkpoint, not about the method: {few}."
    yield from _notes([task for task in outcome.tasks if task.evidence])
    for side, tasks in unshared.items():
        if tasks:
            yield f"Only {side} has {', '.join(plain(task) for task in tasks)}: not compared."


def _drop(task: TaskOutcome, evidence: Evidence) -> str:
    result = "worse" if task.surely_worse else "not a pass, but not significantly below the margin after correction"
    return (
        f"{plain(task.task)} alone dropped by {-evidence.difference.value * 100:.1f} points, more than the "
        f"{evidence.limit * 100:.3g} allowed for one task (p {task.corrected:.2g} after Holm): {result}."
    )


def _overall(outcome: Outcome) -> Iterator[str]:
    judgement = outcome.judgement
    if judgement is None:
        return
    difference = judgement.pooled.difference
    if judgement.drifted and len(judgement.verdicts) > 1:
        visible = any(_significant_drop(task) for task in outcome.tasks)
        points, p = f"{-difference.value * 100:.1f} points", f"one-sided p {judgement.drift:.2g}"
        yield f"Drift: the mean over tasks dropped by {points} ({p}){'' if visible else '; no single task shows it'}."
    if judgement.pooled.inconclusive:
        enough = decides(judgement.pooled) or "more items and more seeds together"
        yield f"Enough for a verdict if there is no true difference: {enough}."
    detectable = difference.smallest_difference * 100
    if difference.low <= 0 <= difference.high and detectable < 100:
        yield f"A true difference of {detectable:.1f} points would be detected with 80 % power."


def _significant_drop(task: TaskOutcome) -> bool:
    significant = task.corrected is not None and task.corrected < LEVEL
    return significant and task.evidence is not None and task.evidence.difference.value < 0


def decides(evidence: Evidence) -> str | None:
    """`about 1,962 items in all (1,812 more), or 5 seeds of each method`; None if neither is enough."""
    items, seeds = items_needed(evidence), seeds_needed(evidence)
    options = [f"about {items:,} items in all ({items - evidence.difference.n:,} more)"] if items else []
    options += [f"{seeds} seeds of each method"] if seeds else []
    return ", or ".join(options) or None


def ended(record: Record) -> str:
    """`seed 1, oom: OutOfMemoryError: ...`"""
    error = record.error or Failure()
    parts = (f"seed {record.seed}, {record.status}", error.type, error.message)
    return ": ".join(plain(part) for part in parts if part)


def _counts(outcome: Outcome) -> str:
    return ", ".join(f"{side} {seeds}" for side, seeds in outcome.seeds.items() if seeds is not None)


def _notes(tasks: Sequence[TaskOutcome]) -> Iterator[str]:
    """Differences that do not prevent the comparison, each with the tasks it affects."""
    notes: dict[str, list[str]] = {}
    for task in tasks:
        for note in _unequal(task.baseline, task.candidate):
            notes.setdefault(note, []).append(plain(task.task))
    for note, names in notes.items():
        yield f"{note} ({', '.join(names)})."


def _unequal(baseline: Method, candidate: Method) -> Iterator[str]:
    for name, read in (("labelled rows", _rows), ("commit of harness", _commit), ("versions", _versions)):
        before, after = (set().union(*map(read, method.records)) for method in (baseline, candidate))
        if before and after and before != after:
            old, new = (", ".join(sorted(map(plain, side))) or "the same" for side in (before - after, after - before))
            yield f"Different {name}: baseline {old}, candidate {new}"
    for method in (baseline, candidate):
        if method.seeds and max(measures.tries(record) for record in method.records) < 2:
            yield f"The learning rate of {plain(method.name)} was not tuned on validation"


def _rows(record: Record) -> set[str]:
    rows = measures.labelled_rows(record)
    return set() if rows is None else {str(rows)}


def _commit(record: Record) -> set[str]:
    commit = record.environment.commit
    return {str(commit)[:12]} if commit else set()


def _versions(record: Record) -> set[str]:
    return {f"{name} {version}" for name, version in record.environment.packages.items()}
