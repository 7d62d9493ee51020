"""Which methods differ: compared item by item and corrected for the number of pairs.

A cell is a method with its settings, its training seeds together. Cells are compared over the items that every run has
scored; where runs share no items, or their predictions are missing, they are not compared.
"""

from __future__ import annotations

import math
import statistics
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

from harness import stats
from harness.records import measures, scores
from harness.records.cohorts import Cohort, Row
from harness.records.scores import ScoreMatrix
from harness.stats import LEVEL, Comparison, Floats
from harness.text import MISSING, Table, markdown


@dataclass(frozen=True)
class Scored:
    """A row of the table and its scores; shape (seeds, items)."""

    row: Row
    scores: Floats

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def quality(self) -> float:
        return float(self.scores.mean())

    @property
    def seeds(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Pair:
    """One cell minus another, with p corrected over all pairs of the cohort (Holm)."""

    first: Scored
    second: Scored
    difference: Comparison
    corrected: float

    @property
    def differ(self) -> bool:
        return self.corrected < LEVEL

    def seen_from(self, name: str) -> Comparison:
        """The difference as `name` minus the other."""
        if name == self.first.name:
            return self.difference
        return replace(
            self.difference, value=-self.difference.value, low=-self.difference.high, high=-self.difference.low
        )


@dataclass(frozen=True)
class Comparisons:
    """All cells of a cohort that have scores, best first, and all pairs of them."""

    cells: tuple[Scored, ...]
    pairs: tuple[Pair, ...]
    ids: tuple[str, ...]
    """Of the items, in the order of the cells' scores."""

    @property
    def items(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, cohort: Cohort) -> Comparisons:
        rows = [row for row in cohort.rows if measures.quality(row.record)]
        read = [(row, [answers for run in row.runs if (answers := scores.read(run))]) for row in rows]
        matrix = ScoreMatrix.of({row.name: answers for row, answers in read})
        if matrix is None:
            return cls((), (), ())
        cells = [Scored(row, matrix.scores[row.name]) for row, answers in read if answers]
        cells.sort(key=lambda cell: (-cell.quality, cell.name))
        compared = [(a, b, matrix.compare(a.name, b.name)) for a, b in combinations(cells, 2)]
        corrected = stats.holm([comparison.p for _, _, comparison in compared])
        pairs = tuple(Pair(*pair, p) for pair, p in zip(compared, corrected, strict=True))
        return cls(tuple(cells), pairs, matrix.ids)

    def between(self, first: str, second: str) -> Pair | None:
        return self._by_names.get(frozenset((first, second)))

    @cached_property
    def _by_names(self) -> Mapping[frozenset[str], Pair]:
        return {frozenset((pair.first.name, pair.second.name)): pair for pair in self.pairs}

    def smallest_difference(self, pair: Pair) -> float:
        """The minimum detectable difference: 80 % power, with the level divided by the number of pairs."""
        return pair.difference.smallest_of(len(self.pairs))

    def alike(self, name: str) -> list[Scored]:
        """The cells that are not significantly different from one, if a difference could have been shown.

        Uses the uncorrected p: correction guards against false differences, but makes it easier to claim none.
        """
        pairs = ((cell, self.between(name, cell.name)) for cell in self.cells if cell.name != name)
        return [cell for cell, pair in pairs if pair and pair.difference.p >= LEVEL and self.could_show(pair)]

    def could_show(self, pair: Pair) -> bool:
        """Whether any difference possible in [0, 1] would have been detectable."""
        return self.smallest_difference(pair) <= 1

    @cached_property
    def letters(self) -> Mapping[str, str]:
        """A compact letter display (Piepho 2004): cells that share a letter do not differ significantly."""
        groups = [{cell.name for cell in self.cells}]
        for pair in self.pairs:
            if pair.differ:
                groups = _largest([part for g in groups for part in _split(g, pair.first.name, pair.second.name)])
        order = {cell.name: place for place, cell in enumerate(self.cells)}
        groups.sort(key=lambda group: sorted(order[name] for name in group))
        return {
            cell.name: "".join(_letter(i) for i, group in enumerate(groups) if cell.name in group)
            for cell in self.cells
        }


def _split(group: set[str], one: str, other: str) -> Iterator[set[str]]:
    if one in group and other in group:
        yield group - {one}
        yield group - {other}
    else:
        yield group


def _largest(groups: list[set[str]]) -> list[set[str]]:
    """Only sets that are not subsets of another."""
    kept: list[set[str]] = []
    for group in sorted(groups, key=len, reverse=True):
        if not any(group <= other for other in kept):
            kept.append(group)
    return kept


def _letter(number: int) -> str:
    letters = string.ascii_lowercase
    return letters[number] if number < len(letters) else f"({number + 1})"


def section(comparisons: Comparisons, cohort: Cohort, chosen: str | None) -> Iterator[str]:
    """Every method against zero-shot and against the chosen one, and which do not differ significantly."""
    cells = comparisons.cells
    if len(cells) < 2:
        return
    known = {cell.name for cell in cells}
    untouched = [cell.name for cell in cells if cell.row.record.method == measures.UNTRAINED]
    against = [name for name in dict.fromkeys((*untouched, chosen)) if name in known]
    rows = [
        (
            markdown(cell.name),
            f"{cell.quality:.3f}",
            comparisons.letters[cell.name],
            *(text for name in against for text in _against(comparisons, cell.name, name)),
        )
        for cell in cells
    ]
    headings = [heading for name in against for heading in (f"minus {markdown(name)}", "p")]
    yield "#### Which methods differ"
    yield Table(("method", "mean", "alike", *headings), tuple(rows)).markdown()
    yield "\n".join(f"- {note}" for note in _notes(comparisons, cohort))


def _against(comparisons: Comparisons, name: str, other: str) -> tuple[str, str]:
    pair = comparisons.between(name, other)
    if pair is None:
        return MISSING, MISSING
    difference = pair.seen_from(name)
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})", p_value(pair.corrected)


def p_value(p: float) -> str:
    return "&lt;0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _notes(comparisons: Comparisons, cohort: Cohort) -> Iterator[str]:
    count, tests = len(comparisons.pairs), ", ".join(sorted({pair.difference.test for pair in comparisons.pairs}))
    yield (
        f"{comparisons.items:,} items that all methods have scored; differences in {markdown(cohort.metric)}, item by "
        f"item, with uncorrected 95 % intervals; p: {tests}, corrected for all {count:,} pairs (Holm)."
    )
    yield "alike: methods that share a letter do not differ significantly (5 %)."
    detectable = statistics.median(comparisons.smallest_difference(pair) for pair in comparisons.pairs)
    if math.isfinite(detectable) and detectable > 0:
        yield (
            f"Smallest detectable difference: {detectable:.3f} (median of the pairs; 80 % power, 5 % shared among "
            f"{count:,} pairs)."
        )
    seeds = [cell.seeds for cell in comparisons.cells if cell.row.record.training]
    if seeds and min(seeds) < stats.FEWEST_SEEDS:
        yield "Some methods have fewer than three training seeds: conclusions on them hold for these checkpoints only."
    missing = sum(1 for run in cohort.runs if measures.quality(run.record)) - sum(c.seeds for c in comparisons.cells)
    if missing:
        yield f"Not compared, because their predictions are missing: {missing} of the runs."
