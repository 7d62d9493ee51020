"""Why the untouched model fails on a task: is it knowledge, is it behaviour, or is it capacity? From what was measured.

Of the items that zero-shot gets wrong:

    behaviour   right under the best method without passages, trained or with examples or rules: it lacked the form
    knowledge   not those, but right under the best method with passages, trained or not: it lacked the fact
    capacity    under neither: a larger model may do it

Best is meant on validation. An item counts as right from a score of one half on. Where no answers were kept, the means
decide and no shares are given. That nothing mends an error is known only once a trained method has been run, and one
with passages where knowledge is asked for; until then the cause is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.decide.choose import zero_shot
from harness.records import Record
from harness.report import measures, scores
from harness.report.cohorts import Cohort, Row
from harness.report.disagreements import RIGHT
from harness.report.scores import Shared
from harness.stats import Comparison, Interval

FEW_ERRORS = 0.1  # of the items; with fewer there is nothing to explain
LIFT = 0.02  # in the mean, that counts as help where items are not known
EXAMPLES = 3
WITH_PASSAGES = ("rag", "oracle")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A part of zero-shot's errors."""

    cause: str
    share: Interval
    examples: tuple[str, ...]
    # items, by id


@dataclass(frozen=True)
class Effect:
    """What one thing brings, measured between two methods."""

    what: str
    found: Comparison
    better: str
    worse: str


@dataclass(frozen=True)
class Diagnosis:
    cause: str
    # knowledge | behaviour | capacity | none | unknown
    with_passages: bool
    # whether anything was asked with passages
    errors: int | None
    shares: tuple[Share, ...]
    effects: tuple[Effect, ...]


def diagnose(cohort: Cohort) -> Diagnosis | None:
    """None without zero-shot, which everything is measured from."""
    base = zero_shot(cohort)
    if base is None:
        return None
    rows = [row for row in cohort.rows if measures.quality(row.record)]
    read = [(row, [own for run in row.runs if (own := scores.read(run))]) for row in rows]
    answered = [(row, own) for row, own in read if own]
    shared = Shared.of([one for _, own in answered for one in own])
    passages = any(row.record.context in WITH_PASSAGES for row in rows)
    if shared is None or base not in [row for row, _ in answered]:
        return Diagnosis(_by_means(base, rows), passages, None, (), ())
    places = iter(shared.scores)
    matrix = {row.name: np.array([next(places) for _ in own]) for row, own in answered}
    known = [row for row, _ in answered]
    wrong = matrix[base.name].mean(0) < RIGHT
    shares = _shares(base, known, matrix, wrong, shared)
    effects = tuple(_effects(base, known, matrix, shared))
    return Diagnosis(_cause(wrong, shares, known), passages, int(wrong.sum()), shares, effects)


def _shares(
    base: Row, rows: Sequence[Row], matrix: dict[str, Floats], wrong: NDArray[np.bool_], shared: Shared
) -> tuple[Share, ...]:
    """By the best method of each kind, on validation: any of many would be right by luck on some item."""

    def mended(some: Sequence[Row]) -> NDArray[np.bool_]:
        best = _best(some)
        return np.zeros_like(wrong) if best is None else wrong & (matrix[best.name].mean(0) >= RIGHT)

    others = [row for row in rows if row is not base]
    behaviour = mended([row for row in others if row.record.context not in WITH_PASSAGES])
    knowledge = mended([row for row in others if row.record.context in WITH_PASSAGES]) & ~behaviour
    parts = {"behaviour": behaviour, "knowledge": knowledge, "capacity": wrong & ~behaviour & ~knowledge}
    errors = int(wrong.sum())
    if not errors:
        return ()
    if not any(row.record.context in WITH_PASSAGES for row in others):
        del parts["knowledge"]  # nothing was asked with passages, so nothing is known of them
    places = np.flatnonzero(wrong)
    clusters = [shared.clusters[i] for i in places] if shared.clusters else None
    found = {cause: stats.interval(part[places].astype(float).tolist(), clusters) for cause, part in parts.items()}
    examples = {cause: [shared.ids[i] for i in np.flatnonzero(part)[:EXAMPLES]] for cause, part in parts.items()}
    return tuple(Share(cause, share, tuple(examples[cause])) for cause, share in found.items() if share)


def _best(rows: Sequence[Row]) -> Row | None:
    return max(rows, key=lambda row: measures.validation(row.record) or 0.0, default=None)


def missing(records: Sequence[Record]) -> tuple[str, ...]:
    """Methods that have to be run before it can be said that nothing mends a task's errors."""
    ok = [record for record in records if record.status == "ok"]
    trained = any(record.training for record in ok)
    passages = any(record.context in WITH_PASSAGES for record in ok)
    asks_for_facts = any(record.probes == "knowledge" for record in records)
    return (*([] if trained else ["lora"]), *(["rag"] if asks_for_facts and not passages else []))


def _cause(wrong: NDArray[np.bool_], shares: Sequence[Share], rows: Sequence[Row]) -> str:
    """The larger of what can be mended; capacity where that is hardly anything."""
    if wrong.mean() < FEW_ERRORS:
        return "none"
    value = {share.cause: share.share.value for share in shares}
    if value["behaviour"] + value.get("knowledge", 0.0) < FEW_ERRORS:
        return _nothing_mends(rows)
    return "knowledge" if value.get("knowledge", 0.0) > value["behaviour"] else "behaviour"


def _nothing_mends(rows: Sequence[Row]) -> str:
    return "unknown" if missing([row.record for row in rows]) else "capacity"


def _by_means(base: Row, rows: Sequence[Row]) -> str:
    """The same from the means alone: what the best method without and with passages brings over zero-shot."""

    def value(row: Row) -> float:
        found = measures.quality(row.record)
        return found.value if found else 0.0

    if value(base) >= 1 - FEW_ERRORS:
        return "none"
    plain = max((value(r) for r in rows if r.record.context not in WITH_PASSAGES), default=0.0) - value(base)
    passages = max((value(r) for r in rows if r.record.context in WITH_PASSAGES), default=0.0) - value(base)
    if max(plain, passages) <= LIFT:
        return _nothing_mends(rows)
    return "knowledge" if passages - plain > plain else "behaviour"


def _effects(base: Row, rows: Sequence[Row], matrix: dict[str, Floats], shared: Shared) -> Iterator[Effect]:
    """Passages and training, each with and without the other; and what the gold passage has over the retrieved ones.

    Two trained methods are of the same adaptation where there are such, and two with passages see the same ones.
    """

    def best(*contexts: str, trained: bool, like: Row | None = None) -> Row | None:
        some = [r for r in rows if (r.record.training is not None) == trained and r.record.context in contexts]
        same = [r for r in some if like and _adapted(r) == _adapted(like)]
        return _best(same or some)

    trained, both = best("zero_shot", trained=True), best("rag", trained=True) or best("oracle", trained=True)
    passages = best("rag", trained=False) or best("oracle", trained=False)
    own = both.record.context if both else ""
    pairs = (
        ("training", trained, base),
        ("examples or rules in the prompt", best("few_shot", "instructed", trained=False), base),
        ("passages, untrained", passages, base),
        ("passages, trained", both, best("zero_shot", trained=True, like=both)),
        ("training, with passages", both, best(own, trained=False)),
        ("the gold passage instead of retrieved ones", best("oracle", trained=False), best("rag", trained=False)),
    )
    for what, better, worse in pairs:
        if better is not None and worse is not None:
            difference = stats.compare_over_seeds(matrix[better.name], matrix[worse.name], shared.clusters)
            yield Effect(what, difference, better.name, worse.name)


def _adapted(row: Row) -> tuple[str, int | None]:
    return row.record.adaptation, row.record.rank
