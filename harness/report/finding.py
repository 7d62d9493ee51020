"""What a task's table shows, in one or two plain sentences: prompt it, give it documents, or train it?

    On handbook_choice passages lift accuracy from 0.28 (zero_shot) to 0.70 (rag); training without passages does not
    (lora r8 0.32). Both together reach 0.90 (rag_lora r8), for 23 s of training and 1.3 GiB of memory.

For each kind of method, the best on validation is used; its test value is reported. "Lift" and "beat" are claimed
if the paired p, not corrected for other pairs, is below 5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harness.decide.choose import NOT_CHOSEN, zero_shot
from harness.progress import spoken
from harness.records import measures
from harness.records.cohorts import Cohort, Row
from harness.records.record import Record
from harness.report.comparisons import Comparisons
from harness.stats import LEVEL
from harness.text import MISSING, plain


def finding(cohort: Cohort, comparisons: Comparisons) -> str:
    """The sentences for one table; empty where nothing can be compared."""
    return plain(" ".join(_sentences(cohort, comparisons)), 1000)


def _sentences(cohort: Cohort, comparisons: Comparisons) -> Iterator[str]:
    untouched, on = zero_shot(cohort), f"On {plain(cohort.key.task, 40)}"
    metric = plain(cohort.metric, 30).replace("_", " ")
    rows = [row for row in cohort.rows if row is not untouched and row.record.context not in NOT_CHOSEN]
    prompts = _best(rows, lambda r: not r.training and not r.retrieval)
    passages = _best(rows, lambda r: not r.training and bool(r.retrieval))
    trained = _best(rows, lambda r: bool(r.training) and not r.retrieval)
    both = _best(rows, lambda r: bool(r.training) and bool(r.retrieval))
    if untouched and passages and (lifted := _compared(comparisons, passages, untouched)) is not None:
        said = f"{on} passages lift {metric} from" if lifted > 0 else f"{on} passages do not measurably lift {metric}:"
        training = _training_alone(comparisons, trained, untouched) if trained else ""
        yield f"{said} {_value(untouched)} ({untouched.name}) to {_value(passages)} ({passages.name}){training}."
        if both:
            yield f"Both together reach {_value(both)} ({both.name}), {_price(both.record)}."
        return
    prompt = max((row for row in (untouched, prompts) if row), key=_merit, default=None)
    if prompt and trained and (better := _compared(comparisons, trained, prompt)) is not None:
        prompted, learned = f"{prompt.name} {_value(prompt)}", f"{trained.name} {_value(trained)}"
        if better > 0:
            yield (
                f"{on} {trained.name}, chosen on validation, reaches {_value(trained)} ({metric}) where the best "
                f"prompt, {prompt.name}, has {_value(prompt)}, {_price(trained.record)}."
            )
        elif better < 0:
            yield f"{on} the best prompt ({prompted}) beats the best training ({learned}) in {metric}."
        else:
            items = f"{cohort.key.items or 0:,} items"
            yield f"{on} the best prompt ({prompted}) and training ({learned}) are not distinguishable on {items}."


def _training_alone(comparisons: Comparisons, trained: Row, untouched: Row) -> str:
    """A clause on training without passages; none if it was not compared item by item."""
    better = _compared(comparisons, trained, untouched)
    if better is None:
        return ""
    does = "lifts it, too" if better > 0 else "does not"
    return f"; training without passages {does} ({trained.name} {_value(trained)})"


def _best(rows: Sequence[Row], belongs: Callable[[Record], bool]) -> Row | None:
    """The best on validation of those that have a test value."""
    candidates = [row for row in rows if measures.quality(row.record) and belongs(row.record)]
    return max(candidates, key=_merit, default=None)


def _merit(row: Row) -> tuple[float, float]:
    """Validation decides; of equals the one that needs the least memory."""
    value, memory = measures.validation(row.record), measures.peak_memory(row.record)
    return -1.0 if value is None else value, -(memory or 0.0)


def _compared(comparisons: Comparisons, first: Row, second: Row) -> int | None:
    """1 or -1 if the paired difference is distinguishable from none, 0 if not; None if it is not known."""
    pair = comparisons.between(first.name, second.name)
    if pair is None:
        return None
    return 0 if pair.difference.p >= LEVEL else 1 if pair.seen_from(first.name).value > 0 else -1


def _value(row: Row) -> str:
    quality = measures.quality(row.record)
    return f"{quality.value:.2f}" if quality else MISSING


def _price(record: Record) -> str:
    seconds, memory = (record.training and record.training.seconds), measures.peak_memory(record)
    parts = [f"{spoken(seconds)} of training"] if seconds is not None else []
    parts += [f"{memory / 2**30:.1f} GiB of memory"] if memory is not None else []
    return f"for {' and '.join(parts)}" if parts else "at a cost that was not measured"
