"""Item by item: how often methods are right together, and the items on which they disagree most.

An item counts as right from a score of one half on. Examples show the end of the question, what each method answered
and the passages it had seen; `harness report --no-examples` leaves them out, where rows may not be passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from harness.records import scores
from harness.records.prediction import Prediction
from harness.records.scores import RIGHT
from harness.report.comparisons import Comparisons, Scored
from harness.text import MISSING, Table, code, markdown

EXAMPLES = 3
MOST = 8  # methods whose answers an example shows
_MARKS = re.compile(r"<\|[^|<>]*\|>")
_END_OF_PROMPT = 240  # characters


def section(comparisons: Comparisons, chosen: str | None, *, examples: bool) -> Iterator[str]:
    """Agreement of every method with the chosen one, and the items that divide them."""
    cells = comparisons.cells
    best = next((cell for cell in cells if cell.name == chosen), None)
    if best is None or len(cells) < 2:
        return
    yield "#### Item by item"
    rows = [_agreement(best, cell) for cell in cells if cell is not best]
    name = markdown(best.name)
    headings = ("method", "both right", f"only {name}", "only this", "both wrong")
    yield Table(headings, tuple(rows)).markdown()
    yield f"- Shares of {comparisons.items:,} items, over all pairs of seeds; right: a score of {RIGHT} or more."
    if examples:
        yield from _examples(comparisons, best)


def _agreement(best: Scored, other: Scored) -> tuple[str, ...]:
    """Mean over all pairs of seeds, because a majority vote of seeds is not a method that was run."""
    one, two = ((cell.scores >= RIGHT).mean(0) for cell in (best, other))
    shares = [one * two, one * (1 - two), (1 - one) * two, (1 - one) * (1 - two)]
    return markdown(other.name), *(f"{float(np.mean(share)):.2f}" for share in shares)


def _examples(comparisons: Comparisons, best: Scored) -> Iterator[str]:
    """The items whose scores differ most between methods; of equals, the first by id."""
    shown = [best, *(cell for cell in comparisons.cells if cell is not best)][:MOST]
    spread = np.array([cell.scores.mean(0) for cell in shown]).std(0)
    order = sorted(range(comparisons.items), key=lambda i: (-spread[i], comparisons.ids[i]))
    said = [(cell.name, _first_run(cell)) for cell in shown]
    for i in order[:EXAMPLES]:
        if spread[i] == 0:
            return
        item = comparisons.ids[i]
        yield f"**{markdown(item)}**: {markdown(_question(said[0][1][item]), 400)}"
        rows = [_answer(name, predictions[item]) for name, predictions in said]
        yield Table(("method", "score", "answer", "passages"), tuple(rows)).without_empty_columns().markdown()


def _first_run(cell: Scored) -> Mapping[str, Prediction]:
    run = next(run for run in cell.row.runs if scores.read(run))
    return {prediction.id: prediction for prediction in run.predictions()}


def _question(prediction: Prediction) -> str:
    """The end of the prompt without the template's marks, as much of it as fits into a line or two."""
    bare = " ".join(_MARKS.sub(" ", prediction.prompt or "").removesuffix("assistant\n").split())
    bare = bare.removesuffix(" assistant")
    return bare if len(bare) <= _END_OF_PROMPT else f"… {bare[-_END_OF_PROMPT:]}"


def _answer(name: str, prediction: Prediction) -> tuple[str, ...]:
    return (
        markdown(name),
        MISSING if prediction.score is None else f"{prediction.score:.2f}",
        code(prediction.completion, 160) if prediction.completion else MISSING,
        markdown(", ".join(prediction.evidence), 80) if prediction.evidence else MISSING,
    )
