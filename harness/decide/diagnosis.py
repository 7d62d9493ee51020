"""Why the unchanged model fails on a task: knowledge, behaviour or capacity, based on which methods fix its errors.

Each item that zero-shot gets wrong has a cause:

    behaviour   the best method without passages (trained, or with examples or rules) fixes it: the form was missing
    knowledge   only the best method with passages (trained or not) fixes it: the fact was missing
    capacity    neither fixes it: a larger model may

The best method is the best on validation. An item with a score of at least one half counts as right. With several seeds
a method fixes an item as often as its seeds do, with all seeds of one method crossed with all seeds of the other.
Zero-shot is deterministic; if its runs differ, their mean counts. Without predictions the means decide, without shares.

An item can become right by luck, so a kind of method counts as a cause only if its best method is better than zero-shot
over all items (paired, 5 %); its share comes with the number of items that it lost. 'capacity' is reported only if a
trained method (and, for knowledge tasks, one with passages) was run and neither can improve quality by more than FEW;
until then the cause is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.decide.choose import zero_shot
from harness.records import measures, scores
from harness.records.cohorts import Cohort, Row
from harness.records.scores import RIGHT, ScoreMatrix
from harness.stats import Comparison, Interval

FEW = 0.1  # share of items; fewer errors need no explanation, and a method that fixes fewer explains nothing
LIFT = 0.02  # an improvement of the mean that counts as help if there are no predictions
EXAMPLES = 3
WITH_PASSAGES = ("rag", "oracle")

TRAINED, RETRIEVING = "lora", "rag"
"""The methods to run first if no trained method, or none with passages, has been run."""


@dataclass(frozen=True)
class Share:
    """The part of zero-shot's errors that has one cause."""

    cause: str
    share: Interval
    by: str | None
    """The method that fixes them; None for capacity."""
    lost: float
    """Items that zero-shot gets right and the method gets wrong, averaged over its seeds."""
    examples: tuple[str, ...]
    """Ids of items on which most seeds agree."""


@dataclass(frozen=True)
class Effect:
    """The effect of one change, measured between two methods."""

    what: str
    difference: Comparison
    better: str
    worse: str


@dataclass(frozen=True)
class Diagnosis:
    cause: str | None
    """knowledge | behaviour | capacity | none; None if unknown."""
    missing: tuple[str, ...]
    """Methods that have to be run before 'capacity' can be reported."""
    errors: int | None
    shares: tuple[Share, ...]
    effects: tuple[Effect, ...]


def diagnose(cohort: Cohort) -> Diagnosis | None:
    """The cause of zero-shot's errors; None without a zero-shot run."""
    base = zero_shot(cohort)
    if base is None:
        return None
    rows = [row for row in cohort.rows if measures.quality(row.record)]
    rows = [row for row in rows if row is base or measures.validation(row.record) is not None]
    run_scores = [(row, [s for run in row.runs if (s := scores.read(run))]) for row in rows]
    scored = [(row, runs) for row, runs in run_scores if runs]
    matrix = ScoreMatrix.of({row.name: runs for row, runs in scored})
    if matrix is None or base not in [row for row, _ in scored]:
        missing = _missing(rows)
        return Diagnosis(_by_means(base, rows, missing), missing, None, (), ())
    return _by_items(base, [row for row, _ in scored if row is not base], matrix)


def _by_items(base: Row, others: Sequence[Row], matrix: ScoreMatrix) -> Diagnosis:
    missing = _missing([base, *others])
    no_passages = _best([row for row in others if row.record.context not in WITH_PASSAGES])
    passages = _best([row for row in others if row.record.context in WITH_PASSAGES])
    shares = tuple(_shares(base, no_passages, passages, matrix, rest=not missing))
    errors = _wrong(matrix, base)
    if errors.mean() < FEW:
        cause: str | None = "none"
    else:
        gains = {row.name: matrix.compare(row.name, base.name) for row in (no_passages, passages) if row}
        helping = {s.cause: s.share.value for s in shares if s.by and gains[s.by].low > 0 and s.share.value >= FEW}
        hopeless = not missing and all(gain.high < FEW for gain in gains.values())
        cause = max(helping, key=lambda kind: helping[kind]) if helping else "capacity" if hopeless else None
    return Diagnosis(cause, missing, int(errors.sum()), shares, tuple(_effects(base, others, matrix)))


def _shares(
    base: Row, no_passages: Row | None, passages: Row | None, matrix: ScoreMatrix, *, rest: bool
) -> Iterator[Share]:
    """The share of errors that the best method of each kind fixes; with `rest` also the share that remains."""
    wrong = _wrong(matrix, base)
    positions = np.flatnonzero(wrong)
    clusters = [matrix.clusters[i] for i in positions] if matrix.clusters else None

    def share(cause: str, part: NDArray[np.bool_], by: Row | None) -> Share | None:
        """part: which errors belong to the share; shape (..., errors), with a seed axis for every method involved."""
        interval = stats.interval_over_seeds(part, clusters)
        lost = float((~wrong & ~_right(matrix, by)).sum(1).mean()) if by else 0.0
        frequency = part.mean(tuple(range(part.ndim - 1)))
        examples = [matrix.ids[positions[i]] for i in np.argsort(-frequency, kind="stable") if frequency[i] > 0]
        return Share(cause, interval, by.name if by else None, lost, tuple(examples[:EXAMPLES])) if interval else None

    remaining, shares = np.ones(len(positions), bool), []
    for cause, row in (("behaviour", no_passages), ("knowledge", passages)):
        if row:
            right = _right(matrix, row)[:, positions]
            shares.append(share(cause, remaining[..., None, :] & right, row))
            remaining = remaining[..., None, :] & ~right
    if rest:
        shares.append(share("capacity", remaining, None))
    yield from filter(None, shares)


def _right(matrix: ScoreMatrix, row: Row) -> NDArray[np.bool_]:
    """Items that each seed gets right; shape (seeds, items)."""
    return matrix.scores[row.name] >= RIGHT


def _wrong(matrix: ScoreMatrix, row: Row) -> NDArray[np.bool_]:
    """Items that are wrong by the mean score over seeds; shape (items,)."""
    return np.asarray(matrix.scores[row.name].mean(0) < RIGHT)


def _best(rows: Sequence[Row]) -> Row | None:
    """The best row on validation; ties go to the one with less peak memory."""
    return min(rows, key=lambda row: (-(measures.validation(row.record) or 0.0), _memory(row), row.name), default=None)


def _memory(row: Row) -> float:
    memory = measures.peak_memory(row.record)
    return inf if memory is None else memory


def _missing(rows: Sequence[Row]) -> tuple[str, ...]:
    """Methods that have to be run on validation before 'capacity' can be reported."""
    records = [row.record for row in rows]
    trained = any(record.training for record in records)
    passages = any(record.context in WITH_PASSAGES for record in records)
    knowledge = any(record.probes == "knowledge" for record in records)
    return (*([] if trained else [TRAINED]), *([RETRIEVING] if knowledge and not passages else []))


def _by_means(base: Row, rows: Sequence[Row], missing: Sequence[str]) -> str | None:
    """The cause from means alone: the gains of the best methods without and with passages over zero-shot."""

    def value(row: Row | None) -> float:
        quality = measures.quality(row.record) if row else None
        return quality.value if quality else value(base)

    if value(base) >= 1 - FEW:
        return "none"
    others = [row for row in rows if row is not base]
    no_passages = value(_best([row for row in others if row.record.context not in WITH_PASSAGES])) - value(base)
    passages = value(_best([row for row in others if row.record.context in WITH_PASSAGES])) - value(base)
    if max(no_passages, passages) <= LIFT:
        return None if missing else "capacity"
    return "knowledge" if passages - no_passages > no_passages else "behaviour"


def _effects(base: Row, rows: Sequence[Row], matrix: ScoreMatrix) -> Iterator[Effect]:
    """Effects of passages and training, each with and without the other, and of the gold over retrieved passages.

    Compares trained methods with the same adaptation if possible, and methods with passages from the same source.
    """

    def best(*contexts: str, trained: bool, like: Row | None = None) -> Row | None:
        matches = [r for r in rows if (r.record.training is not None) == trained and r.record.context in contexts]
        same_adaptation = [r for r in matches if like and _adaptation(r) == _adaptation(like)]
        return _best(same_adaptation or matches)

    both = best("rag", trained=True) or best("oracle", trained=True)
    passages = best("rag", trained=False) or best("oracle", trained=False)
    context = both.record.context if both else ""
    pairs = (
        ("training", best("zero_shot", trained=True), base),
        ("examples or rules in the prompt", best("few_shot", "instructed", trained=False), base),
        ("passages, untrained", passages, base),
        ("passages, trained", both, best("zero_shot", trained=True, like=both)),
        ("training, with passages", both, best(context, trained=False)),
        ("the gold passage instead of retrieved ones", best("oracle", trained=False), best("rag", trained=False)),
    )
    for what, better, worse in pairs:
        if better is not None and worse is not None:
            yield Effect(what, matrix.compare(better.name, worse.name), better.name, worse.name)


def _adaptation(row: Row) -> tuple[str, int | None]:
    return row.record.adaptation, row.record.rank
