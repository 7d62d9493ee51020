"""A decision as text, Markdown and JSON data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil, inf

from harness.decide import Decision, Limits
from harness.decide.choose import MARGIN, Excluded, Rival, Strategy, month_seconds, not_considered
from harness.decide.diagnosis import RETRIEVING, TRAINED, Diagnosis, Effect, Share
from harness.decide.limits import OFTEN, as_bytes, as_seconds, learned_facts, median_seconds
from harness.records import measures
from harness.records.cohorts import Row
from harness.records.costs import REQUESTS, Prices, index_seconds, request_seconds, total, training_seconds
from harness.records.record import Score
from harness.stats import FEWEST_SEEDS
from harness.text import markdown, plain, with_interval

MEANING = {
    "behaviour": "the model lacks the form of the answers; training, examples or rules fix that",
    "knowledge": "the model lacks facts; passages fix more than methods without them",
    "capacity": "nothing tried on this model fixes much; a larger model may",
    "none": "there are hardly any errors to explain",
}
UNKNOWN = "unknown: nothing tried so far fixes much, and not every kind of method has been run"
UNSURE = "unknown: nothing is significantly better than zero-shot (paired, 5 %); more items could show what is"
STALE = (
    "facts that change monthly or more often belong in documents, not in weights, which would have to be trained again "
    "after each change (Lewis et al. 2020 update a model's knowledge by replacing its index)"
)
PRIVATE = (
    "private data stays out of weights: weights can reproduce training rows word for word (Carlini et al. 2021), and "
    "removing a row means training again; an example or a passage is simply left out of the next prompt"
)


def as_text(decisions: Sequence[Decision], limits: Limits) -> str:
    return "\n\n".join("\n".join(_block(decision, limits)) for decision in decisions)


def as_markdown(decisions: Sequence[Decision], limits: Limits) -> str:
    """The decisions as a Markdown page; Markdown syntax in names and ids of the data is escaped."""
    parts = ["# What to do"]
    for decision in decisions:
        parts += [f"## {markdown(_head(decision))}", "\n".join(_bullets(decision, limits))]
    return "\n\n".join(parts) + "\n"


def _bullets(decision: Decision, limits: Limits) -> Iterator[str]:
    """A bullet for each topic; several sentences on a topic become a nested list."""
    for label, sentences in _sections(decision, limits):
        if len(sentences) == 1:
            yield f"- **{label}**: {markdown(sentences[0], 600)}"
        else:
            yield f"- **{label}**:"
            yield from (f"  - {markdown(sentence, 600)}" for sentence in sentences)


def _block(decision: Decision, limits: Limits) -> Iterator[str]:
    yield _head(decision)
    for label, sentences in _sections(decision, limits):
        for number, sentence in enumerate(sentences):
            yield f"  {'' if number else label:12}  {sentence}"


def _head(decision: Decision) -> str:
    key = decision.cohort.key
    device = f" on {key.device}" if key.device else ""
    return plain(f"{key.task}, {key.model}{device}, {key.items or 0:,} test items", 200)


def _sections(decision: Decision, limits: Limits) -> Iterator[tuple[str, list[str]]]:
    """Topics with their sentences."""
    strategy = decision.strategy
    if strategy is None:
        yield "nothing fits", [_nearest(decision)]
    else:
        yield "recommended", [_measured(decision, strategy.row)]
        yield "needs", [_needs(strategy.row, limits)]
        if strategy.runner_up:
            yield "runner-up", [_measured(decision, strategy.runner_up)]
    yield from reasons(decision, limits).items()


def _measured(decision: Decision, row: Row) -> str:
    assert decision.strategy is not None
    value, quality = decision.strategy.values[row.name], with_interval(measures.quality(row.record))
    return f"{plain(row.name)}: {decision.cohort.metric} {quality} on test, {value:.3f} on validation"


def _needs(row: Row, limits: Limits) -> str:
    record = row.record
    parts = [as_bytes(measures.peak_memory(record)), f"{as_seconds(median_seconds(record))} a request"]
    if record.training:
        parts.append(f"{as_seconds(training_seconds(record))} of training")
    if index_seconds(record):
        parts.append(f"{as_seconds(index_seconds(record))} of indexing")
    parts += _priced(row, limits)
    return ", ".join(parts)


def _priced(row: Row, limits: Limits) -> Iterator[str]:
    """The cost of the first month if requests are given, else of set-up and REQUESTS if a price is."""
    seconds, price = month_seconds(row.record, limits), total(row.record, Prices(limits.hour))
    if seconds == inf or price is None:
        return
    if limits.requests is not None:
        amount = as_seconds(seconds) if limits.hour is None else f"{seconds / 3600 * limits.hour:,.2f}"
        yield f"{amount} in the first month for {limits.requests:,.0f} requests"
    elif limits.hour is not None:
        yield f"{price:,.4g} for its set-up and {REQUESTS:,} requests"


def _nearest(decision: Decision) -> str:
    """Which limits to relax: those of the method that exceeds the fewest, by the smallest factor."""
    if not decision.excluded:
        return "no method has a validation value"
    nearest = min(decision.excluded, key=lambda excluded: (*_beyond(excluded), excluded.row.name))
    return f"{plain(nearest.row.name)} comes nearest, with {' and '.join(nearest.why)}"


def _beyond(excluded: Excluded) -> tuple[int, float, float]:
    """Number of exceeded limits, the largest factor by which one is exceeded, and the memory."""
    memory = measures.peak_memory(excluded.row.record)
    furthest = max(broken.times for broken in excluded.broken)
    return len(excluded.broken), furthest, memory if memory is not None else inf


def reasons(decision: Decision, limits: Limits) -> dict[str, list[str]]:
    """Sentences by topic: the choice, the limits, problems of the records, the cause of errors, what to run next."""
    topics = {
        "why": _choice(decision, limits),
        "limits": _limits(decision, limits),
        "note": _notes(decision),
        "cause": _cause(decision.diagnosis),
        "next": _next(decision, limits),
    }
    return {label: texts for label, sentences in topics.items() if (texts := list(sentences))}


def _next(decision: Decision, limits: Limits) -> Iterator[str]:
    """Runs within the limits that are most likely to change the choice."""
    strategy, diagnosis = decision.strategy, decision.diagnosis
    knowledge = any(record.probes == "knowledge" for record in decision.cohort.records)
    if diagnosis is None:
        yield "method=zero_shot, the reference for the cause of errors"
    else:
        for proposal in _missing(decision, diagnosis):
            learns_facts = proposal.trains and not proposal.passages and knowledge
            if not (limits.private and proposal.trains) and not (limits.changes >= OFTEN and learns_facts):
                yield f"method={proposal.method}, since {proposal.reason}"
        if diagnosis.cause == "capacity":
            yield "a larger model"
    if strategy is not None and strategy.rival is not None:
        yield from _to_separate(strategy, strategy.rival)


@dataclass(frozen=True)
class _Proposal:
    """A method to run next."""

    method: str
    reason: str
    trains: bool
    passages: bool


def _missing(decision: Decision, diagnosis: Diagnosis) -> Iterator[_Proposal]:
    """Methods to run: the cause calls for them, or is unknown without them."""
    rag = [record for record in decision.cohort.records if record.context == "rag" and record.status == "ok"]
    if diagnosis.cause == "knowledge":
        if not rag:
            yield _Proposal("rag", "only the gold passage has been tried", trains=False, passages=True)
        if not any(record.training for record in rag):
            yield _Proposal("rag_lora", "no method has been trained with passages", trains=True, passages=True)
    elif diagnosis.cause != "none":
        if TRAINED in diagnosis.missing:
            yield _Proposal(TRAINED, "no trained method has a validation value", trains=True, passages=False)
        if RETRIEVING in diagnosis.missing:
            yield _Proposal(RETRIEVING, "no method with passages has a validation value", trains=False, passages=True)


def _to_separate(strategy: Strategy, rival: Rival) -> Iterator[str]:
    """Items and seeds that could separate the choice from the method that is chosen most often instead."""
    names = f"{plain(strategy.row.name)} and {plain(rival.row.name)}"
    pair = f"{names} (chosen in {strategy.probability:.0%} and {rival.probability:.0%} of the resamples)"
    points = f"{100 * MARGIN:.0f} points"
    if rival.items:
        yield f"more validation items for {pair}; about {rival.items:,} would detect a difference of {points}"
    else:
        yield f"no more validation items for {pair}; there are enough to detect a difference of {points}"
    few = [plain(row.name) for row in (strategy.row, rival.row) if row.record.training and len(row.runs) < FEWEST_SEEDS]
    if few:
        yield f"{FEWEST_SEEDS} training seeds of {' and '.join(few)}; the variation between seeds is not known yet"


def _choice(decision: Decision, limits: Limits) -> Iterator[str]:
    strategy = decision.strategy
    if strategy is None:
        return
    within, points = " within the limits" if decision.excluded else "", f"{100 * MARGIN:.0f} points"
    if len(strategy.alike) > 1:
        others = ", ".join(plain(row.name) for row in strategy.alike if row is not strategy.row)
        yield (
            f"the cheapest of the methods{within} that are within {points} of the best on validation and not "
            f"significantly different from it; the others: {others}"
        )
        yield f"cheapest means {_cheapest(limits)}"
    else:
        yield f"the highest validation value{within}"
    yield _competitors(strategy)
    if strategy.could_lose is not None and strategy.row is not strategy.best:
        most = ceil(100 * strategy.could_lose - 1e-9)
        best = plain(strategy.best.name)
        yield f"at most {most} points worse than {best} (95 % interval, validation)"
    if strategy.probability is not None:
        units = "items and seeds" if strategy.several_seeds else "items"
        yield f"chosen in {strategy.probability:.0%} of the resamples of validation {units}"
    if strategy.row.record.training and measures.tries(strategy.row.record) < 2:
        yield "its learning rate was not tuned; another may be better"
    if len(strategy.row.runs) < FEWEST_SEEDS and strategy.row.record.training:
        yield "fewer than three training seeds: this holds for the checkpoint, not for the method"


def _competitors(strategy: Strategy) -> str:
    points, best = f"{100 * MARGIN:.0f} points", plain(strategy.best.name)
    if strategy.within_margin:
        worse = ", ".join(plain(row.name) for row in strategy.within_margin)
        return f"within {points} of {best} but significantly worse item by item (paired, 5 %): {worse}"
    return f"no {'further' if len(strategy.alike) > 1 else 'other'} method comes within {points} of {best}"


def _cheapest(limits: Limits) -> str:
    if limits.requests is None:
        return "the least peak memory, then the shortest set-up; with --requests-per-month, the least machine time"
    repeated = ", repeated when facts change" if limits.changes else ""
    return f"the least machine time for a month of {limits.requests:,.0f} requests, including set-up{repeated}"


def _limits(decision: Decision, limits: Limits) -> Iterator[str]:
    for excluded in decision.excluded:
        yield f"{plain(excluded.row.name)} is out: {', '.join(excluded.why)}"
    yield from _price_of_limits(decision)
    if any(learned_facts(excluded.row.record) for excluded in decision.excluded) and limits.changes >= OFTEN:
        yield STALE
    if limits.private and any(excluded.row.record.training for excluded in decision.excluded):
        yield PRIVATE


def _price_of_limits(decision: Decision) -> Iterator[str]:
    """How much better the best excluded method is on validation than the best one within the limits."""
    strategy = decision.strategy
    if strategy is None or not decision.excluded:
        return
    best_excluded = max(decision.excluded, key=lambda excluded: measures.validation(excluded.row.record) or 0.0).row
    loss = (measures.validation(best_excluded.record) or 0.0) - strategy.values[strategy.best.name]
    if loss > 0:
        yield f"the limits cost {100 * loss:.1f} points on validation: {plain(best_excluded.name)} is that much better"


def _notes(decision: Decision) -> Iterator[str]:
    """Runs that were ignored, and contaminated figures of the choice."""
    for row, reason in not_considered(decision.cohort):
        yield f"{plain(row.name)} is not considered: {reason}"
    contaminated = measures.contaminated(decision.strategy.row.record) if decision.strategy else {}
    for figure, remarks in contaminated.items():
        yield f"its {figure} figure is contaminated: {plain('; '.join(remarks), 200)}"
    if others := decision.other_cohorts:
        sets = "1 other set" if others == 1 else f"{others} other sets"
        yield f"not used: {sets} of runs of this task, with other items, data or devices"


def _cause(diagnosis: Diagnosis | None) -> Iterator[str]:
    if diagnosis is None:
        yield "unknown, since there is no zero-shot run to compare with"
        return
    causes = {share.cause for share in diagnosis.shares}
    if diagnosis.cause is None:
        yield UNKNOWN if diagnosis.missing else UNSURE
    else:
        yield f"{diagnosis.cause}: {MEANING[diagnosis.cause]}"
    for cause, kind in (("behaviour", "without passages, except zero-shot,"), ("knowledge", "with passages")):
        if diagnosis.shares and cause not in causes:
            yield f"no method {kind} was run"
    if diagnosis.errors is None:
        yield "based on means alone: the predictions were not kept"
    for share in diagnosis.shares:
        yield _share(share, diagnosis.errors or 0)
    yield from map(_effect, diagnosis.effects)


def _share(share: Share, errors: int) -> str:
    part, items = share.share, f", such as {', '.join(map(plain, share.examples))}" if share.examples else ""
    errors_of_kind = f"{part.value:.0%} ({part.low:.0%} to {part.high:.0%}) of zero-shot's {errors:,} errors{items}"
    if share.by is None:
        return f"{share.cause}: nothing fixes {errors_of_kind}"
    lost = f"it gets {share.lost:,.0f} wrong that zero-shot gets right"
    return f"{share.cause}: {plain(share.by)} fixes {errors_of_kind}; {lost}"


def _effect(effect: Effect) -> str:
    difference = effect.difference
    low, high = f"{100 * difference.low:+.0f}", f"{100 * difference.high:+.0f}"
    methods = f"{plain(effect.better)} against {plain(effect.worse)}"
    return f"{effect.what}: {100 * difference.value:+.0f} points ({low} to {high}; {methods})"


def as_data(decisions: Sequence[Decision], limits: Limits) -> dict[str, object]:
    return {"tasks": [_data(decision, limits) for decision in decisions]}


def _data(decision: Decision, limits: Limits) -> dict[str, object]:
    key, strategy, diagnosis = decision.cohort.key, decision.strategy, decision.diagnosis
    return {
        "task": decision.task,
        "model": key.model,
        "device": key.device,
        "items": key.items,
        "recommendation": strategy.row.name if strategy else None,
        "best": strategy.best.name if strategy else None,
        "runner_up": strategy.runner_up.name if strategy and strategy.runner_up else None,
        "alike": [row.name for row in strategy.alike] if strategy else [],
        "cause": diagnosis.cause if diagnosis else None,
        "why": [
            *([] if strategy else [f"nothing fits: {_nearest(decision)}"]),
            *(sentence for sentences in reasons(decision, limits).values() for sentence in sentences),
        ],
        "quality": _score(strategy.row.record.quality) if strategy else None,
        "validation": _score(strategy.row.record.validation) if strategy else None,
        "could_lose": strategy.could_lose if strategy else None,
        "probability": strategy.probability if strategy else None,
        "rival": _rival(strategy.rival) if strategy and strategy.rival else None,
        "run_ids": [run.record.run_id for run in strategy.row.runs] if strategy else [],
        "costs": {row.name: _costs(row, limits) for row in decision.cohort.rows if row.record.status == "ok"},
        "excluded": {excluded.row.name: list(excluded.why) for excluded in decision.excluded},
        "not_considered": {row.name: reason for row, reason in not_considered(decision.cohort)},
        "errors": diagnosis.errors if diagnosis else None,
        "shares": {share.cause: _share_data(share) for share in diagnosis.shares} if diagnosis else {},
        "effects": [_effect_data(effect) for effect in diagnosis.effects] if diagnosis else [],
    }


def _score(score: Score | None) -> dict[str, object] | None:
    return None if score is None else asdict(score)


def _rival(rival: Rival) -> dict[str, object]:
    return {"method": rival.row.name, "probability": rival.probability, "items": rival.items}


def _costs(row: Row, limits: Limits) -> dict[str, float | None]:
    """Bytes and seconds; None if unknown."""
    record, month = row.record, month_seconds(row.record, limits)
    return {
        "memory_bytes": measures.peak_memory(record),
        "training_seconds": training_seconds(record),
        "index_seconds": index_seconds(record),
        "request_seconds": request_seconds(record),
        "median_request_seconds": median_seconds(record),
        "month_seconds": month if limits.requests is not None and month < inf else None,
    }


def _share_data(share: Share) -> dict[str, object]:
    interval = {"share": share.share.value, "low": share.share.low, "high": share.share.high}
    return {**interval, "by": share.by, "lost": share.lost, "examples": list(share.examples)}


def _effect_data(effect: Effect) -> dict[str, object]:
    difference = effect.difference
    interval = {"value": difference.value, "low": difference.low, "high": difference.high}
    return {"what": effect.what, "better": effect.better, "worse": effect.worse, **interval}
