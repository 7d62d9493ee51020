"""Whether a task of this project orders the methods as its public twin does: Kendall's tau over their test values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.catalogue import task_field
from harness.records import measures
from harness.records.cohorts import Cohort
from harness.records.index import Key
from harness.text import Table, markdown

FEWEST = 3  # methods that both have, below which an order says nothing


Values = Mapping[str, float]


def section(cohorts: Sequence[tuple[Key, Values]]) -> Iterator[str]:
    """A table of the tasks whose twin has results on the same model, if there are any; test values by row."""
    rows = tuple(_rows(cohorts))
    if rows:
        yield "## Agreement with the public twins"
        yield Table(("what", "public twin", "model", "methods", "Kendall's tau"), rows).markdown()
        yield (
            "Kendall's tau-b between the test values of the methods that both have: 1 the same order, 0 none, "
            "-1 the reverse. With so few methods it is a hint and no more."
        )


def _rows(cohorts: Sequence[tuple[Key, Values]]) -> Iterator[tuple[str, ...]]:
    largest: dict[tuple[str, str], tuple[Key, Values]] = {}
    for key, values in cohorts:
        place = (key.task, key.model)
        if place not in largest or (key.items or 0) > (largest[place][0].items or 0):
            largest[place] = key, values
    twin = {task: str(task_field(task, "twin")) for task in {task for task, _ in largest}}
    for (task, model), (_, mine) in largest.items():
        if (twin[task], model) not in largest:
            continue
        other, theirs = largest[twin[task], model]
        shared = sorted(set(mine) & set(theirs))
        if len(shared) >= FEWEST:
            tau = agreement([mine[name] for name in shared], [theirs[name] for name in shared])
            agreed = "undefined (all level)" if tau is None else f"{tau:.2f}"
            yield markdown(task), markdown(other.task), markdown(model), str(len(shared)), agreed


def agreement(one: list[float], other: list[float]) -> float | None:
    """Kendall's tau-b (Kendall 1945), which corrects for ties; None where one side has no order at all."""
    from scipy.stats import kendalltau

    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return float(kendalltau(one, other).statistic)


def values(cohort: Cohort) -> dict[str, float]:
    """Test value of each row."""
    return {row.name: quality.value for row in cohort.rows if (quality := measures.quality(row.record))}
