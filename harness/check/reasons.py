"""What a reader should know of a verdict, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.check.gate import Evidence, items_needed, seeds_needed
from harness.check.outcome import Outcome, TaskOutcome
from harness.records import measures
from harness.records.methods import Method
from harness.records.record import Failure, Record
from harness.stats import FEWEST_SEEDS, LEVEL
from harness.text import plain


def reasons(outcome: Outcome, alone: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """`alone`: by option, the tasks that only this side has."""
    for task in outcome.tasks:
        yield from (f"{plain(task.task)}: {remark}." for remark in task.remarks)
        if task.fallen and task.evidence:
            yield _fell(task, task.evidence)
    yield from _pooled(outcome)
    yield from (
        f"{ratio.figure.title} is worse: {ratio.value:.2f} times the baseline's, more than {1 + ratio.margin:.2f}."
        for ratio in outcome.resources
        if ratio.decides and ratio.verdict == "worse"
    )
    if outcome.about == "checkpoint":
        few = f"fewer than {FEWEST_SEEDS} training seeds ({_counts(outcome)})"
        yield f"This verdict is about this checkpoint, not about the method: {few}."
    yield from _notes([task for task in outcome.tasks if task.evidence])
    for side, tasks in alone.items():
        if tasks:
            yield f"Only {side} has {', '.join(plain(task) for task in tasks)}: not compared."


def _fell(task: TaskOutcome, evidence: Evidence) -> str:
    so = "worse" if task.surely_worse else "no pass, but with so many tasks looked at not surely below the margin"
    return (
        f"{plain(task.task)} alone fell by {-evidence.found.value * 100:.1f} points, more than the "
        f"{evidence.limit * 100:.3g} that one task may (p {task.corrected:.2g} after Holm): {so}."
    )


def _pooled(outcome: Outcome) -> Iterator[str]:
    if outcome.judgement is None:
        return
    judged = outcome.judgement
    found = judged.pooled.found
    if judged.drifted and len(judged.verdicts) > 1:
        shown = any(
            task.corrected is not None and task.corrected < LEVEL and task.evidence and task.evidence.found.value < 0
            for task in outcome.tasks
        )
        alone = "" if shown else ", which no single task shows"
        yield (
            f"Drift: over all tasks it fell by {-found.value * 100:.1f} points (one-sided p {judged.drift:.2g}){alone}."
        )
    if judged.pooled.inconclusive:
        enough = decides(judged.pooled) or "more items and more seeds, neither alone"
        yield f"Would decide, if nothing has truly changed: {enough}."
    shown_least = found.smallest_difference * 100
    if found.low <= 0 <= found.high and shown_least < 100:
        yield f"A true difference of {shown_least:.1f} points would have been found four times in five."


def decides(evidence: Evidence) -> str | None:
    """`about 1,962 items in all (1,812 more), or 5 seeds of each method`; None where nothing would."""
    items, seeds = items_needed(evidence), seeds_needed(evidence)
    said = [f"about {items:,} items in all ({items - evidence.found.n:,} more)"] if items else []
    said += [f"{seeds} seeds of each method"] if seeds else []
    return ", or ".join(said) or None


def ended(record: Record) -> str:
    """`seed 1, oom: OutOfMemoryError: ...`"""
    error = record.error or Failure()
    parts = (f"seed {record.seed}, {record.status}", error.type, error.message)
    return ": ".join(plain(part) for part in parts if part)


def _counts(outcome: Outcome) -> str:
    return ", ".join(f"{side} {seeds}" for side, seeds in outcome.seeds.items() if seeds is not None)


def _notes(tasks: Sequence[TaskOutcome]) -> Iterator[str]:
    """What forbids nothing and a reader would want to know, with the tasks it is true of."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        for note in _unequal(task.baseline, task.candidate):
            found.setdefault(note, []).append(plain(task.task))
    for note, names in found.items():
        yield f"{note} ({', '.join(names)})."


def _unequal(baseline: Method, candidate: Method) -> Iterator[str]:
    for what, read in (("labelled rows", _rows), ("commit of harness", _commit), ("versions", _versions)):
        ours, theirs = (set().union(*map(read, method.records)) for method in (candidate, baseline))
        if ours and theirs and ours != theirs:
            before, after = (
                ", ".join(sorted(map(plain, side))) or "the same" for side in (theirs - ours, ours - theirs)
            )
            yield f"Other {what}: baseline {before}, candidate {after}"
    for method in (baseline, candidate):
        if method.seeds and max(measures.tries(record) for record in method.records) < 2:
            yield f"The learning rate of {plain(method.name)} was not chosen among several on validation"


def _rows(record: Record) -> set[str]:
    rows = measures.labelled_rows(record)
    return set() if rows is None else {str(rows)}


def _commit(record: Record) -> set[str]:
    commit = record.environment.commit
    return {str(commit)[:12]} if commit else set()


def _versions(record: Record) -> set[str]:
    return {f"{name} {version}" for name, version in record.environment.packages.items()}
