"""What forbids comparing two methods on a task: other data, metric, model, prompts, scorer; with the difference shown.

Another context is another method (RAG against zero-shot); prompts have to agree where both sides claim the same context
with the same settings.
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

SHOWN = 40  # characters of two prompts around the place where they part
_CHANGES_NOTHING = ("about",)
Rows = Mapping[str, Prediction]


def obstacles(baseline: Method, candidate: Method) -> list[str]:
    """Why the two must not be compared, a sentence each; empty where they may be."""
    facts: dict[str, Callable[[Record], object]] = {
        "data": measures.data_hash,
        "metric": measures.metric,
        "model": lambda record: record.model,
    }
    found = [said for name, fact in facts.items() if (said := _differing(name, fact, baseline, candidate))]
    if not any(said.startswith("other model") for said in found):
        found += _base_settings(baseline, candidate)
    metric = measures.metric(baseline.records[0])
    if metric not in HIGHER_IS_BETTER:
        found.append(f"metric {plain(metric)}: whether more of it is better is not stated (harness/tasks/metrics.py)")
    return found or [*_prompts(baseline, candidate), *_scorers(baseline, candidate)]


def _differing(name: str, fact: Callable[[Record], object], baseline: Method, candidate: Method) -> str | None:
    ours, theirs = ({fact(record) for record in method.records} for method in (candidate, baseline))
    if len(ours | theirs) < 2:
        return None
    return f"other {name}: the baseline has {_said(theirs)}, the candidate {_said(ours)}"


def _said(values: set[object]) -> str:
    return " and ".join(sorted(plain("none" if value is None else value, 80) for value in values))


def _base_settings(baseline: Method, candidate: Method) -> Iterator[str]:
    """The base model's settings (id, revision, package, precision), one by one."""
    known = [dict(flatten(r.config.get("model") or {})) for r in (*baseline.records, *candidate.records)]
    for name in sorted({name for settings in known for name in settings} - set(_CHANGES_NOTHING)):
        said = _differing(f"model.{name}", lambda r, n=name: _setting(r, n), baseline, candidate)  # type: ignore[misc]
        if said:
            yield said


def _setting(record: Record, name: str) -> str | None:
    return dict(flatten(record.config.get("model") or {})).get(name)


def _prompts(baseline: Method, candidate: Method) -> Iterator[str]:
    """Items that were asked otherwise though the context is the same."""
    for ours, theirs in _pairs(baseline, candidate, same_context=True):
        changed = [item for item in ours.keys() & theirs.keys() if _asked_otherwise(ours[item], theirs[item])]
        if changed:
            item = min(changed)
            before, after = _parting(theirs[item].prompt or "", ours[item].prompt or "")
            yield (
                f"other prompts on {len(changed):,} items though the context is the same; {plain(item)}: "
                f"the baseline has «{before}», the candidate «{after}»"
            )
            return


def _scorers(baseline: Method, candidate: Method) -> Iterator[str]:
    """The same answer to the same item has to have the same score."""
    for ours, theirs in _pairs(baseline, candidate, same_context=False):
        changed = [item for item in ours.keys() & theirs.keys() if _judged_otherwise(ours[item], theirs[item])]
        if changed:
            item = min(changed)
            yield (
                f"other scorer: {len(changed):,} items have the same answer and another score; {plain(item)}: "
                f"«{plain(ours[item].completion, 80)}» has {theirs[item].score:g} in the baseline, "
                f"{ours[item].score:g} in the candidate"
            )
            return


def _pairs(baseline: Method, candidate: Method, *, same_context: bool) -> Iterator[tuple[Rows, Rows]]:
    sides = (zip(method.records, method.predictions, strict=True) for method in (candidate, baseline))
    for (record, rows), (other, others) in product(*sides):
        if not same_context or _context(record) == _context(other):
            yield rows, others


def _context(record: Record) -> object:
    """What decides the prompts beside the item: the context's settings, and which rows may be shown."""
    config = record.config
    seeds = config.get("seeds") or {}
    drawn = (seeds.get("demonstrations"), seeds.get("data"), config.get("max_train_examples"))
    return record.context, config.get("context"), (*drawn, record.seed) if record.context == "few_shot" else ()


def _asked_otherwise(ours: Prediction, theirs: Prediction) -> bool:
    """Where both prompts are recorded, and neither was trimmed more than the other to fit the model's window."""
    trimmed = ours.demonstrations_left_out != theirs.demonstrations_left_out
    return None not in (ours.prompt, theirs.prompt) and not trimmed and ours.prompt != theirs.prompt


def _judged_otherwise(ours: Prediction, theirs: Prediction) -> bool:
    """Where both have all their metrics recorded: a bare score says nothing of who gave it."""
    known = all(row.metrics and row.score is not None and row.completion for row in (ours, theirs))
    return known and ours.completion == theirs.completion and ours.score != theirs.score


def _parting(before: str, after: str) -> tuple[str, str]:
    """Two texts around the first character in which they differ."""
    same = next(i for i, (one, other) in enumerate(zip_longest(before, after)) if one != other)
    start = max(0, same - SHOWN // 2)
    first, second = (plain(text[start : same + SHOWN], 2 * SHOWN) for text in (before, after))
    return first, second
