"""A decision as text, as a page and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import ceil, inf

from harness.decide import Decision, Limits
from harness.decide.choose import MARGIN, Excluded, Rival, Strategy, month_seconds, no_candidates
from harness.decide.diagnosis import Diagnosis, Effect, Share
from harness.decide.limits import OFTEN, as_bytes, as_seconds, learned_facts, median_seconds
from harness.records import measures
from harness.records.cohorts import Row
from harness.records.costs import REQUESTS, Prices, index_seconds, request_seconds, total, training_seconds
from harness.records.record import Score
from harness.stats import FEWEST_SEEDS
from harness.text import markdown, plain, with_interval

MEANING = {
    "behaviour": "the form is missing, and training, examples or rules fix it",
    "knowledge": "facts are missing, and passages fix more than anything without them does",
    "capacity": "nothing that was done to this model fixes much, and a larger one may",
    "none": "there is hardly an error to explain",
}
UNKNOWN = "unknown: nothing fixes much so far, and not everything that could has been run"
UNSURE = "unknown: nothing is better than zero-shot for sure (paired, 5 %), and more items could show what is"
STALE = (
    "facts that change monthly or more often are kept in documents, not in weights, which would have to be trained at "
    "each change (Lewis et al. 2020 replace a model's knowledge by replacing its index)"
)
PRIVATE = (
    "what is private stays out of weights, which can give their training rows back word for word (Carlini et al. 2021) "
    "and lose none without training again; an example or a passage is left out of the next prompt"
)


def as_text(decisions: Sequence[Decision], limits: Limits) -> str:
    return "\n\n".join("\n".join(_block(decision, limits)) for decision in decisions)


def as_markdown(decisions: Sequence[Decision], limits: Limits) -> str:
    """The same as a page; names and items of the data mean nothing to markdown."""
    parts = ["# What to do"]
    for decision in decisions:
        parts += [f"## {markdown(_head(decision))}", "\n".join(_bullets(decision, limits))]
    return "\n\n".join(parts) + "\n"


def _bullets(decision: Decision, limits: Limits) -> Iterator[str]:
    """A list of the reasons; several sentences on one thing are a list below it."""
    for label, sentences in _said(decision, limits):
        if len(sentences) == 1:
            yield f"- **{label}**: {markdown(sentences[0], 600)}"
        else:
            yield f"- **{label}**:"
            yield from (f"  - {markdown(sentence, 600)}" for sentence in sentences)


def _block(decision: Decision, limits: Limits) -> Iterator[str]:
    yield _head(decision)
    for label, sentences in _said(decision, limits):
        for number, sentence in enumerate(sentences):
            yield f"  {'' if number else label:12}  {sentence}"


def _head(decision: Decision) -> str:
    key = decision.cohort.key
    device = f" on {key.device}" if key.device else ""
    return plain(f"{key.task}, {key.model}{device}, {key.items or 0:,} test items", 200)


def _said(decision: Decision, limits: Limits) -> Iterator[tuple[str, list[str]]]:
    """Sentences, each list with what it is on."""
    strategy = decision.strategy
    if strategy is None:
        yield "nothing fits", [nothing(decision)]
    else:
        yield "recommended", [_measured(decision, strategy.row)]
        yield "needs", [_needs(strategy.row, limits)]
        if strategy.runner_up:
            yield "runner-up", [_measured(decision, strategy.runner_up)]
    yield from reasons(decision, limits).items()


def _measured(decision: Decision, row: Row) -> str:
    assert decision.strategy is not None
    value, tested = decision.strategy.values[row.name], with_interval(measures.quality(row.record))
    return f"{plain(row.name)}: {decision.cohort.metric} {tested} on test, {value:.3f} on validation"


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
    """Of the first month where requests are given, else of a price alone; nothing where a time is not known."""
    seconds, price = month_seconds(row.record, limits), total(row.record, Prices(limits.hour))
    if seconds == inf or price is None:
        return
    if limits.requests is not None:
        said = as_seconds(seconds) if limits.hour is None else f"{seconds / 3600 * limits.hour:,.2f}"
        yield f"{said} in the first month for {limits.requests:,.0f} requests"
    elif limits.hour is not None:
        yield f"{price:,.4g} for its set-up and {REQUESTS:,} requests"


def nothing(decision: Decision) -> str:
    """What to relax: of the methods that break the fewest limits, the one that breaks them by least."""
    if not decision.excluded:
        return "no method has a validation value"
    nearest = min(decision.excluded, key=lambda excluded: (*_beyond(excluded), excluded.row.name))
    return f"{plain(nearest.row.name)} comes nearest, with {' and '.join(nearest.why)}"


def _beyond(excluded: Excluded) -> tuple[int, float, float]:
    """Limits broken, how many times over the furthest of them it is, and its memory."""
    memory = measures.peak_memory(excluded.row.record)
    furthest = max(broken.times for broken in excluded.broken)
    return len(excluded.broken), furthest, memory if memory is not None else inf


def reasons(decision: Decision, limits: Limits) -> dict[str, list[str]]:
    """Why this method, what limits rule out, what to know of the records, the cause of errors, what to run next."""
    found = {
        "why": _of_choice(decision, limits),
        "limits": _of_limits(decision, limits),
        "note": _of_records(decision),
        "cause": _of_cause(decision.diagnosis),
        "next": _next(decision, limits),
    }
    return {label: said for label, sentences in found.items() if (said := list(sentences))}


def _next(decision: Decision, limits: Limits) -> Iterator[str]:
    """What to run next: what is likeliest to change the choice, within the limits."""
    strategy, found = decision.strategy, decision.diagnosis
    if found is None:
        yield "method=zero_shot, which every cause is measured from"
    else:
        for method, since in _lacking(decision, found):
            learns = method == "lora" and any(record.probes == "knowledge" for record in decision.cohort.records)
            if not (limits.private and "lora" in method) and not (limits.changes >= OFTEN and learns):
                yield f"method={method}, since {since}"
        if found.cause == "capacity":
            yield "a larger model"
    if strategy is not None and strategy.rival is not None:
        yield from _between(strategy, strategy.rival)


def _lacking(decision: Decision, found: Diagnosis) -> Iterator[tuple[str, str]]:
    """Methods without which the cause is not known, or that it asks for, and why."""
    read = [record for record in decision.cohort.records if record.context == "rag" and record.status == "ok"]
    if found.cause == "knowledge":
        if not read:
            yield "rag", "the gold passage alone has been shown"
        if not any(record.training for record in read):
            yield "rag_lora", "no method has been trained to read passages"
    elif found.cause != "none":
        what = {"lora": "that was trained", "rag": "with passages"}
        for method in found.missing:
            yield method, f"nothing {what[method]} has a value on validation"


def _between(strategy: Strategy, rival: Rival) -> Iterator[str]:
    """What would tell the choice from what is taken most often instead."""
    names = f"{plain(strategy.row.name)} and {plain(rival.row.name)}"
    taken = f"{names}, which the draws take in {strategy.probability:.0%} and {rival.probability:.0%}"
    points = f"{100 * MARGIN:.0f} points"
    if rival.items:
        yield f"more validation items for {taken}; about {rival.items:,} would show a difference of {points}"
    else:
        yield f"no more validation items for {taken}; a difference of {points} would have shown"
    few = [plain(row.name) for row in (strategy.row, rival.row) if row.record.training and len(row.runs) < FEWEST_SEEDS]
    if few:
        yield f"{FEWEST_SEEDS} training seeds of {' and '.join(few)}; what seeds change is not known yet"


def _of_choice(decision: Decision, limits: Limits) -> Iterator[str]:
    strategy = decision.strategy
    if strategy is None:
        return
    within, points = " within the limits" if decision.excluded else "", f"{100 * MARGIN:.0f} points"
    if len(strategy.alike) > 1:
        others = ", ".join(plain(row.name) for row in strategy.alike if row is not strategy.row)
        yield f"the cheapest of those within {points} of the best on validation{within} and not told from it: {others}"
        yield f"cheapest is {_cheapest(limits)}"
    else:
        yield f"the highest validation value{within}"
    yield _near(strategy)
    if strategy.could_lose is not None and strategy.row is not strategy.best:
        most = ceil(100 * strategy.could_lose - 1e-9)
        best = plain(strategy.best.name)
        yield f"it could be worse than {best} by {most} points at most (95 % interval, validation)"
    if strategy.probability is not None:
        drawn = "items and seeds" if strategy.several_seeds else "items"
        yield f"on other validation {drawn} the same rule takes it in {strategy.probability:.0%} of the draws"
    if strategy.row.record.training and measures.tries(strategy.row.record) < 2:
        yield "its learning rate was not tuned; another may bring more"
    if len(strategy.row.runs) < FEWEST_SEEDS and strategy.row.record.training:
        yield "fewer than three training seeds: this checkpoint, not this method"


def _near(strategy: Strategy) -> str:
    points, best = f"{100 * MARGIN:.0f} points", plain(strategy.best.name)
    if strategy.near:
        near = ", ".join(plain(row.name) for row in strategy.near)
        return f"within {points} of {best} and yet worse item by item (paired, 5 %): {near}"
    return f"no {'further' if len(strategy.alike) > 1 else 'other'} method comes within {points} of {best}"


def _cheapest(limits: Limits) -> str:
    if limits.requests is None:
        return "the least peak memory, then the shortest set-up; with a number of requests, the least machine time"
    repeated = ", repeated as facts change" if limits.changes else ""
    return f"the least machine time of a month of {limits.requests:,.0f} requests, with its set-up{repeated}"


def _of_limits(decision: Decision, limits: Limits) -> Iterator[str]:
    for excluded in decision.excluded:
        yield f"{plain(excluded.row.name)} is out: {', '.join(excluded.why)}"
    yield from _price_of_limits(decision)
    if any(learned_facts(excluded.row.record) for excluded in decision.excluded) and limits.changes >= OFTEN:
        yield STALE
    if limits.private and any(excluded.row.record.training for excluded in decision.excluded):
        yield PRIVATE


def _price_of_limits(decision: Decision) -> Iterator[str]:
    """How much more the best of what is out has than the best of what is not."""
    strategy = decision.strategy
    if strategy is None or not decision.excluded:
        return
    own = strategy.values[strategy.best.name]
    out = max(decision.excluded, key=lambda excluded: measures.validation(excluded.row.record) or 0.0).row
    more = (measures.validation(out.record) or 0.0) - own
    if more > 0:
        yield f"the limits cost {100 * more:.1f} points on validation, which {plain(out.name)} has more"


def _of_records(decision: Decision) -> Iterator[str]:
    """What is not known, or known less well than it looks."""
    for row, said in no_candidates(decision.cohort):
        yield f"{plain(row.name)} is not considered: {said}"
    disturbed = measures.contaminated(decision.strategy.row.record) if decision.strategy else {}
    for figure, remarks in disturbed.items():
        yield f"its {figure} was disturbed: {plain('; '.join(remarks), 200)}"
    if others := decision.other_cohorts:
        yield f"{others} other set{'s' * (others > 1)} of runs of this task, of other items, data or devices, not used"


def _of_cause(found: Diagnosis | None) -> Iterator[str]:
    if found is None:
        yield "unknown, since there is no zero-shot run to start from"
        return
    kinds = {share.cause for share in found.shares}
    if found.cause is None:
        yield UNKNOWN if found.missing else UNSURE
    else:
        yield f"{found.cause}: {MEANING[found.cause]}"
    for kind, what in (("behaviour", "without passages but zero-shot"), ("knowledge", "with passages")):
        if found.shares and kind not in kinds:
            yield f"nothing {what} was run"
    if found.errors is None:
        yield "from the means alone: the answers to each item were not kept"
    for share in found.shares:
        yield _share(share, found.errors or 0)
    yield from map(_effect, found.effects)


def _share(share: Share, errors: int) -> str:
    part, items = share.share, f", such as {', '.join(map(plain, share.examples))}" if share.examples else ""
    interval = f"{part.low:.0%} to {part.high:.0%}"
    said = f"{share.cause}: {part.value:.0%} ({interval}) of zero-shot's {errors:,} errors"
    if share.by:
        said += f" are right under {plain(share.by)}, and {share.lost:,.0f} that it has right are wrong there"
    return f"{said}{items}"


def _effect(effect: Effect) -> str:
    found = effect.found
    return (
        f"{effect.what}: {100 * found.value:+.0f} points ({100 * found.low:+.0f} to {100 * found.high:+.0f}; "
        f"{plain(effect.better)} against {plain(effect.worse)})"
    )


def as_data(decisions: Sequence[Decision], limits: Limits) -> dict[str, object]:
    return {"tasks": [_data(decision, limits) for decision in decisions]}


def _data(decision: Decision, limits: Limits) -> dict[str, object]:
    key, strategy, found = decision.cohort.key, decision.strategy, decision.diagnosis
    return {
        "task": decision.task,
        "model": key.model,
        "device": key.device,
        "items": key.items,
        "recommendation": strategy.row.name if strategy else None,
        "best": strategy.best.name if strategy else None,
        "runner_up": strategy.runner_up.name if strategy and strategy.runner_up else None,
        "alike": [row.name for row in strategy.alike] if strategy else [],
        "cause": found.cause if found else None,
        "why": [
            *([] if strategy else [f"nothing fits: {nothing(decision)}"]),
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
        "not_considered": {row.name: said for row, said in no_candidates(decision.cohort)},
        "errors": found.errors if found else None,
        "shares": {share.cause: _share_data(share) for share in found.shares} if found else {},
        "effects": [_effect_data(effect) for effect in found.effects] if found else [],
    }


def _score(score: Score | None) -> dict[str, object] | None:
    return None if score is None else asdict(score)


def _rival(rival: Rival) -> dict[str, object]:
    return {"method": rival.row.name, "probability": rival.probability, "items": rival.items}


def _costs(row: Row, limits: Limits) -> dict[str, float | None]:
    """Bytes and seconds; None where one is not known."""
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
    found = share.share
    ends = {"share": found.value, "low": found.low, "high": found.high}
    return {**ends, "by": share.by, "lost": share.lost, "examples": list(share.examples)}


def _effect_data(effect: Effect) -> dict[str, object]:
    found = effect.found
    ends = {"value": found.value, "low": found.low, "high": found.high}
    return {"what": effect.what, "better": effect.better, "worse": effect.worse, **ends}
