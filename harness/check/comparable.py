"""Reasons not to compare two methods on a task: different data, metric, model, prompts or scorer, each with details.

Different contexts are different methods (RAG against zero-shot). If both sides have the same context with the same
settings, their prompts must be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product, zip_longest

from harness.records import measures
from harness.records.methods import Method
from harness.records.prediction import Prediction
from harness.records.reading import flatten
from harness.records.record import Record
from harness.tasks.metrics import HIGHER_IS_BETTER
from harness.text import plain

EXCERPT = 40  # characters of two prompts around their first difference
_IRRELEVANT = ("about",)
Rows = Mapping[str, Prediction]


def obstacles(baseline: Method, candidate: Method) -> list[str]:
    """Why the two must not be compared, one sentence for each reason; empty if they may."""
    facts: dict[str, Callable[[Record], object]] = {
        "data": measures.data_hash,
        "metric": measures.metric,
        "model": lambda record: record.model,
    }
    differences = [text for name, fact in facts.items() if (text := _difference(name, fact, baseline, candidate))]
    if not any(text.startswith("different model") for text in differences):
        differences += _base_settings(baseline, candidate)
    metric = measures.metric(baseline.records[0])
    if metric not in HIGHER_IS_BETTER:
        differences.append(f"metric {plain(metric)}: harness/tasks/metrics.py does not say whether higher is better")
    return differences or [*_prompts(baseline, candidate), *_scorers(baseline, candidate)]


def _difference(name: str, fact: Callable[[Record], object], baseline: Method, candidate: Method) -> str | None:
    before, after = ({fact(record) for record in method.records} for method in (baseline, candidate))
    if len(before | after) < 2:
        return None
    return f"different {name}: the baseline has {_joined(before)}, the candidate {_joined(after)}"


def _joined(values: set[object]) -> str:
    return " and ".join(sorted(plain("none" if value is None else value, 80) for value in values))


def _base_settings(baseline: Method, candidate: Method) -> Iterator[str]:
    """Differences in the base model's settings (id, revision, package, precision)."""
    settings = [dict(flatten(r.config.get("model") or {})) for r in (*baseline.records, *candidate.records)]
    for name in sorted({name for values in settings for name in values} - set(_IRRELEVANT)):
        text = _difference(f"model.{name}", lambda r, n=name: _setting(r, n), baseline, candidate)  # type: ignore[misc]
        if text:
            yield text


def _setting(record: Record, name: str) -> str | None:
    return dict(flatten(record.config.get("model") or {})).get(name)


def _prompts(baseline: Method, candidate: Method) -> Iterator[str]:
    """Different prompts for the same items although the context is the same."""
    for before, after in _pairs(baseline, candidate, same_context=True):
        changed = [item for item in before.keys() & after.keys() if _other_prompt(before[item], after[item])]
        if changed:
            item = min(changed)
            old, new = _first_difference(before[item].prompt or "", after[item].prompt or "")
            yield (
                f"different prompts on {len(changed):,} items although the context is the same; {plain(item)}: "
                f"the baseline has «{old}», the candidate «{new}»"
            )
            return


def _scorers(baseline: Method, candidate: Method) -> Iterator[str]:
    """Different scores for the same answer to the same item."""
    for before, after in _pairs(baseline, candidate, same_context=False):
        changed = [item for item in before.keys() & after.keys() if _other_score(before[item], after[item])]
        if changed:
            item = min(changed)
            yield (
                f"different scorer: {len(changed):,} items have the same answer but a different score; {plain(item)}: "
                f"«{plain(after[item].completion, 80)}» scores {before[item].score:g} in the baseline, "
                f"{after[item].score:g} in the candidate"
            )
            return


def _pairs(baseline: Method, candidate: Method, *, same_context: bool) -> Iterator[tuple[Rows, Rows]]:
    """Predictions of each run of the candidate with each run of the baseline; baseline first in each pair."""
    sides = (zip(method.records, method.predictions, strict=True) for method in (candidate, baseline))
    for (record, rows), (other, others) in product(*sides):
        if not same_context or _context(record) == _context(other):
            yield others, rows


def _context(record: Record) -> object:
    """Everything besides the item that determines prompts: the context's settings, and the rows for demonstrations."""
    config = record.config
    seeds = config.get("seeds") or {}
    rows = (seeds.get("demonstrations"), seeds.get("data"), config.get("max_train_examples"))
    return record.context, config.get("context"), (*rows, record.seed) if record.context == "few_shot" else ()


def _other_prompt(before: Prediction, after: Prediction) -> bool:
    """Whether two recorded prompts differ although both lost the same number of demonstrations to the window."""
    trimmed = before.demonstrations_left_out != after.demonstrations_left_out
    return None not in (before.prompt, after.prompt) and not trimmed and before.prompt != after.prompt


def _other_score(before: Prediction, after: Prediction) -> bool:
    """Whether equal answers differ in score, if both record all metrics: a bare score does not show the scorer."""
    complete = all(row.metrics and row.score is not None and row.completion for row in (before, after))
    return complete and before.completion == after.completion and before.score != after.score


def _first_difference(before: str, after: str) -> tuple[str, str]:
    """Excerpts of two different texts around the first character that differs."""
    i = next(i for i, (a, b) in enumerate(zip_longest(before, after)) if a != b)
    start = max(0, i - EXCERPT // 2)
    old, new = (plain(text[start : i + EXCERPT], 2 * EXCERPT) for text in (before, after))
    return old, new
