"""Why the untouched model fails on a task: is it knowledge, is it behaviour, or is it capacity? From what was measured.

Of the items that zero-shot gets wrong:

    behaviour   right under the best method without passages, trained or with examples or rules: it lacked the form
    knowledge   not those, but right under the best method with passages, trained or not: it lacked the fact
    capacity    under neither: a larger model may do it

Best is meant on validation. An item counts as right from a score of one half on; under a method of several seeds it is
right as often as those have it right, all of one method with all of the other. Zero-shot draws nothing: should its runs
differ, their mean counts. Where no answers were kept, the means decide and no shares are given.

An item can become right by luck, so a kind of method explains something only where its best is better than zero-shot
over all items (paired, 5 %); its share comes with the number of items that it lost. That nothing fixes the errors is
reported only after a trained method has been run (on a task that probes knowledge one with passages too) and neither
can lift quality by more than FEW; until then the cause is unknown.
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

FEW = 0.1  # of the items; with fewer errors there is nothing to explain, and a method that fixes fewer explains nothing
LIFT = 0.02  # in the mean, that counts as help where items are not known
EXAMPLES = 3
WITH_PASSAGES = ("rag", "oracle")


@dataclass(frozen=True)
class Share:
    """A part of zero-shot's errors."""

    cause: str
    share: Interval
    by: str | None
    """The method that fixes it; None of capacity."""
    lost: float
    """Items that zero-shot has right and that method has not, a mean over its seeds."""
    examples: tuple[str, ...]
    """Items, by id; those that most seeds agree on."""


@dataclass(frozen=True)
class Effect:
    """What one thing brings, measured between two methods."""

    what: str
    found: Comparison
    better: str
    worse: str


@dataclass(frozen=True)
class Diagnosis:
    cause: str | None
    """knowledge | behaviour | capacity | none; None where it is not known."""
    missing: tuple[str, ...]
    """Methods that have to be run before it can be reported that nothing fixes an error."""
    errors: int | None
    shares: tuple[Share, ...]
    effects: tuple[Effect, ...]


def diagnose(cohort: Cohort) -> Diagnosis | None:
    """None without zero-shot, which everything is measured from."""
    base = zero_shot(cohort)
    if base is None:
        return None
    rows = [row for row in cohort.rows if measures.quality(row.record)]
    rows = [row for row in rows if row is base or measures.validation(row.record) is not None]
    read = [(row, [own for run in row.runs if (own := scores.read(run))]) for row in rows]
    answered = [(row, own) for row, own in read if own]
    matrix = ScoreMatrix.of({row.name: own for row, own in answered})
    if matrix is None or base not in [row for row, _ in answered]:
        missing = _missing(rows)
        return Diagnosis(_by_means(base, rows, missing), missing, None, (), ())
    return _by_items(base, [row for row, _ in answered if row is not base], matrix)


def _by_items(base: Row, others: Sequence[Row], matrix: ScoreMatrix) -> Diagnosis:
    missing = _missing([base, *others])
    plain = _best([row for row in others if row.record.context not in WITH_PASSAGES])
    passages = _best([row for row in others if row.record.context in WITH_PASSAGES])
    shares = tuple(_shares(base, plain, passages, matrix, rest=not missing))
    errors = _wrong(matrix, base)
    if errors.mean() < FEW:
        cause: str | None = "none"
    else:
        found = {row.name: matrix.compare(row.name, base.name) for row in (plain, passages) if row}
        helping = {s.cause: s.share.value for s in shares if s.by and found[s.by].low > 0 and s.share.value >= FEW}
        hopeless = not missing and all(one.high < FEW for one in found.values())
        cause = max(helping, key=lambda kind: helping[kind]) if helping else "capacity" if hopeless else None
    return Diagnosis(cause, missing, int(errors.sum()), shares, tuple(_effects(base, others, matrix)))


def _shares(base: Row, plain: Row | None, passages: Row | None, matrix: ScoreMatrix, *, rest: bool) -> Iterator[Share]:
    """What the best method of each kind fixes; the rest only if it can be given a cause."""
    wrong = _wrong(matrix, base)
    places = np.flatnonzero(wrong)
    clusters = [matrix.clusters[i] for i in places] if matrix.clusters else None

    def share(cause: str, part: NDArray[np.bool_], by: Row | None) -> Share | None:
        """part: which errors it is; shape (..., errors), an axis of seeds for every method that takes part."""
        found = stats.interval_over_seeds(part, clusters)
        lost = float((~wrong & ~_right(matrix, by)).sum(1).mean()) if by else 0.0
        often = part.mean(tuple(range(part.ndim - 1)))
        examples = [matrix.ids[places[i]] for i in np.argsort(-often, kind="stable") if often[i] > 0]
        return Share(cause, found, by.name if by else None, lost, tuple(examples[:EXAMPLES])) if found else None

    left, found = np.ones(len(places), bool), []
    for cause, row in (("behaviour", plain), ("knowledge", passages)):
        if row:
            right = _right(matrix, row)[:, places]
            found.append(share(cause, left[..., None, :] & right, row))
            left = left[..., None, :] & ~right
    if rest:
        found.append(share("capacity", left, None))
    yield from filter(None, found)


def _right(matrix: ScoreMatrix, row: Row) -> NDArray[np.bool_]:
    """Shape (seeds, items)."""
    return matrix.scores[row.name] >= RIGHT


def _wrong(matrix: ScoreMatrix, row: Row) -> NDArray[np.bool_]:
    """By the mean score of its seeds; shape (items,)."""
    return np.asarray(matrix.scores[row.name].mean(0) < RIGHT)


def _best(rows: Sequence[Row]) -> Row | None:
    """On validation, of equals the one that needs less memory."""
    return min(rows, key=lambda row: (-(measures.validation(row.record) or 0.0), _memory(row), row.name), default=None)


def _memory(row: Row) -> float:
    found = measures.peak_memory(row.record)
    return inf if found is None else found


def _missing(rows: Sequence[Row]) -> tuple[str, ...]:
    """Methods that have to be run on validation before it can be reported that nothing fixes a task's errors."""
    records = [row.record for row in rows]
    trained = any(record.training for record in records)
    passages = any(record.context in WITH_PASSAGES for record in records)
    asks_for_facts = any(record.probes == "knowledge" for record in records)
    return (*([] if trained else ["lora"]), *(["rag"] if asks_for_facts and not passages else []))


def _by_means(base: Row, rows: Sequence[Row], missing: Sequence[str]) -> str | None:
    """The same from the means alone: what the best method without and with passages brings over zero-shot."""

    def value(row: Row | None) -> float:
        found = measures.quality(row.record) if row else None
        return found.value if found else value(base)

    if value(base) >= 1 - FEW:
        return "none"
    others = [row for row in rows if row is not base]
    plain = value(_best([row for row in others if row.record.context not in WITH_PASSAGES])) - value(base)
    passages = value(_best([row for row in others if row.record.context in WITH_PASSAGES])) - value(base)
    if max(plain, passages) <= LIFT:
        return None if missing else "capacity"
    return "knowledge" if passages - plain > plain else "behaviour"


def _effects(base: Row, rows: Sequence[Row], matrix: ScoreMatrix) -> Iterator[Effect]:
    """Passages and training, each with and without the other; and what the gold passage has over the retrieved ones.

    Two trained methods are of the same adaptation where there are such, and two with passages see the same ones.
    """

    def best(*contexts: str, trained: bool, like: Row | None = None) -> Row | None:
        some = [r for r in rows if (r.record.training is not None) == trained and r.record.context in contexts]
        same = [r for r in some if like and _adapted(r) == _adapted(like)]
        return _best(same or some)

    both = best("rag", trained=True) or best("oracle", trained=True)
    passages = best("rag", trained=False) or best("oracle", trained=False)
    own = both.record.context if both else ""
    pairs = (
        ("training", best("zero_shot", trained=True), base),
        ("examples or rules in the prompt", best("few_shot", "instructed", trained=False), base),
        ("passages, untrained", passages, base),
        ("passages, trained", both, best("zero_shot", trained=True, like=both)),
        ("training, with passages", both, best(own, trained=False)),
        ("the gold passage instead of retrieved ones", best("oracle", trained=False), best("rag", trained=False)),
    )
    for what, better, worse in pairs:
        if better is not None and worse is not None:
            yield Effect(what, matrix.compare(better.name, worse.name), better.name, worse.name)


def _adapted(row: Row) -> tuple[str, int | None]:
    return row.record.adaptation, row.record.rank
