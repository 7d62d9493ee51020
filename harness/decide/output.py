"""A decision as text, as a page and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.decide import Decision, Limits
from harness.decide.choose import MARGIN, Excluded, month_seconds
from harness.decide.diagnosis import Diagnosis, Effect, Share
from harness.decide.limits import as_bytes, as_seconds, learned_facts, request_seconds
from harness.report import html, measures
from harness.report.cohorts import Row
from harness.report.cost import set_up_seconds
from harness.report.escaping import markdown, plain
from harness.report.units import with_interval
from harness.stats import FEWEST_SEEDS

MEANING = {
    "behaviour": "the form is missing: training mends more than passages do",
    "knowledge": "facts are missing: passages mend more than training without them does",
    "capacity": "neither training nor passages mend much: a larger model may",
    "none": "there is hardly an error to explain",
}
STALE = (
    "facts that change monthly or more often are kept in documents, not in weights, which would have to be trained at "
    "each change (Lewis et al. 2020 replace a model's knowledge by replacing its index)"
)
PRIVATE = (
    "what is private stays out of weights, which can give their training rows back word for word (Carlini et al. 2021) "
    "and lose none without training again; an example or a passage is left out of the next prompt"
)


def as_html(decisions: Sequence[Decision], limits: Limits) -> str:
    """The same as a page that needs nothing else."""
    return html.page(html.fragment(as_markdown(decisions, limits)), "What to do")


def as_text(decisions: Sequence[Decision], limits: Limits) -> str:
    return "\n\n".join("\n".join(_block(decision, limits)) for decision in decisions)


def as_markdown(decisions: Sequence[Decision], limits: Limits) -> str:
    """The same as a page; names and items of the data mean nothing to markdown."""
    parts = ["# What to do"]
    for decision in decisions:
        head, *lines = _block(decision, limits)
        parts += [f"## {markdown(head)}", "\n".join(map(_bullet, lines))]
    return "\n\n".join(parts) + "\n"


def _bullet(line: str) -> str:
    """A line of a block in a list: its label in bold, that of a reason left out."""
    label, said = line[2:14].strip(), line[14:].strip()
    if line[14:15] != " ":  # a sentence without a label
        return f"- {markdown(line.strip(), 600)}"
    return f"- {markdown(said, 600)}" if label == "why" else f"- **{label}**: {markdown(said, 600)}"


def _block(decision: Decision, limits: Limits) -> Iterator[str]:
    key, strategy = decision.cohort.key, decision.strategy
    yield plain(f"{key.task} on {key.model}, {key.items or 0:,} test items", 200)
    if strategy is None:
        yield f"  nothing fits: {nothing(decision)}"
    else:
        yield f"  {'recommended':12} {_measured(decision, strategy.row)}"
        yield f"  {'needs':12} {_needs(strategy.row, limits)}"
        if strategy.runner_up:
            yield f"  {'runner-up':12} {_measured(decision, strategy.runner_up)}"
    for line in why(decision, limits):
        yield f"  {'why':12} {line}"


def _measured(decision: Decision, row: Row) -> str:
    chosen = measures.validation(row.record) or 0.0
    tested = with_interval(measures.quality(row.record))
    return f"{plain(row.name)}: {decision.cohort.metric} {tested} on test, chosen at {chosen:.3f} on validation"


def _needs(row: Row, limits: Limits) -> str:
    record = row.record
    parts = [as_bytes(measures.peak_memory(record)), f"{as_seconds(request_seconds(record))} a request"]
    if record.training:
        parts.append(f"{as_seconds(set_up_seconds(record))} of training")
    if limits.hour is not None and limits.requests is not None and request_seconds(record) is not None:
        price = month_seconds(record, limits) / 3600 * limits.hour
        parts.append(f"{price:,.2f} in the first month for {limits.requests:,.0f} requests")
    return ", ".join(parts)


def nothing(decision: Decision) -> str:
    """What to relax: of the methods that break the fewest limits, those with the least need."""
    if not decision.excluded:
        return "no method has a validation value"
    fewest = min(len(excluded.why) for excluded in decision.excluded)
    nearest = min((e for e in decision.excluded if len(e.why) == fewest), key=_need)
    return f"{plain(nearest.row.name)} comes nearest, with {' and '.join(nearest.why)}"


def _need(excluded: Excluded) -> tuple[float, float]:
    record = excluded.row.record
    memory = measures.peak_memory(record)
    return memory if memory is not None else float("inf"), request_seconds(record) or float("inf")


def why(decision: Decision, limits: Limits) -> list[str]:
    """Sentences, the most important first."""
    return [
        *_of_choice(decision, limits),
        *_of_limits(decision, limits),
        *_of_cause(decision.diagnosis),
        *_next(decision),
    ]


def _next(decision: Decision) -> Iterator[str]:
    """What to run next: what is likeliest to change the choice."""
    strategy, cause = decision.strategy, decision.diagnosis.cause if decision.diagnosis else None
    records = decision.cohort.records
    trained = [record for record in records if record.training and record.status == "ok"]
    if cause == "behaviour" and not trained:
        yield "next: method=lora, since nothing that was trained has been run"
    elif cause == "knowledge" and not any(record.context == "rag" for record in trained):
        yield "next: method=rag_lora, since no method has been trained to read passages"
    elif cause == "capacity":
        yield "next: a larger model; nothing that was done to this one mends much"
    if strategy is None or strategy.rival is None:
        return
    rival = strategy.rival
    names = f"{plain(strategy.row.name)} and {plain(rival.row.name)}"
    yield (
        f"next: more validation items for {names}, which the draws take in {strategy.probability:.0%} and "
        f"{rival.probability:.0%}; about {rival.items:,} would show a difference of {100 * MARGIN:.0f} points"
    )
    few = [plain(row.name) for row in (strategy.row, rival.row) if row.record.training and len(row.runs) < FEWEST_SEEDS]
    if few:
        yield f"next: {FEWEST_SEEDS} training seeds of {' and '.join(few)}; what seeds change is not known yet"


def _of_choice(decision: Decision, limits: Limits) -> Iterator[str]:
    strategy = decision.strategy
    if strategy is None:
        return
    if len(strategy.alike) > 1:
        others = ", ".join(plain(row.name) for row in strategy.alike if row is not strategy.row)
        yield f"the cheapest of those within {100 * MARGIN:.0f} points of the best on validation: {others}"
        yield f"cheapest: {_cheapest(limits)}"
    else:
        yield "the highest validation value; no other method comes within 2 points of it"
    if strategy.could_lose is not None and strategy.row is not strategy.best:
        most = 100 * strategy.could_lose
        best = plain(strategy.best.name)
        yield f"it could be worse than {best} by {most:.0f} points at most (95 % interval, validation)"
    if strategy.probability is not None:
        yield f"on other validation items and seeds the same rule takes it in {strategy.probability:.0%} of the draws"
    if len(strategy.row.runs) < FEWEST_SEEDS and strategy.row.record.training:
        yield "fewer than three training seeds: this checkpoint, not this method"


def _cheapest(limits: Limits) -> str:
    if limits.requests is None:
        return "the least peak memory, then the shortest set-up; with a number of requests, the least machine time"
    repeated = ", repeated as facts change" if limits.changes else ""
    return f"the least machine time of a month of {limits.requests:,.0f} requests, with its set-up{repeated}"


def _of_limits(decision: Decision, limits: Limits) -> Iterator[str]:
    for excluded in decision.excluded:
        yield f"{plain(excluded.row.name)} is out: {', '.join(excluded.why)}"
    if any(learned_facts(excluded.row.record) for excluded in decision.excluded) and limits.changes:
        yield STALE
    if limits.private and any(excluded.row.record.training for excluded in decision.excluded):
        yield PRIVATE


def _of_cause(found: Diagnosis | None) -> Iterator[str]:
    if found is None:
        yield "cause unknown: there is no zero-shot run to start from"
        return
    yield f"cause: {found.cause}, {MEANING[found.cause]}"
    if found.errors is None:
        yield "from the means alone: the answers to each item were not kept"
    for share in found.shares:
        yield _share(share, found.errors or 0)
    yield from map(_effect, found.effects)


def _share(share: Share, errors: int) -> str:
    part, items = share.share, f", such as {', '.join(map(plain, share.examples))}" if share.examples else ""
    interval = f"{part.low:.0%} to {part.high:.0%}"
    return f"{share.cause}: {part.value:.0%} ({interval}) of zero-shot's {errors:,} errors{items}"


def _effect(effect: Effect) -> str:
    found = effect.found
    return (
        f"{effect.what}: {100 * found.value:+.0f} points ({100 * found.low:+.0f} to {100 * found.high:+.0f}; "
        f"{plain(effect.better)} against {plain(effect.worse)})"
    )


def as_data(decisions: Sequence[Decision], limits: Limits) -> dict[str, Any]:
    return {"tasks": [_data(decision, limits) for decision in decisions]}


def _data(decision: Decision, limits: Limits) -> dict[str, Any]:
    strategy, found = decision.strategy, decision.diagnosis
    return {
        "task": decision.task,
        "model": decision.cohort.key.model,
        "recommendation": strategy.row.name if strategy else None,
        "runner_up": strategy.runner_up.name if strategy and strategy.runner_up else None,
        "cause": found.cause if found else None,
        "why": why(decision, limits) if strategy else [f"nothing fits: {nothing(decision)}", *why(decision, limits)],
        "quality": strategy.row.record.quality if strategy else None,
        "probability": strategy.probability if strategy else None,
        "run_ids": [run.record.run_id for run in strategy.row.runs] if strategy else [],
        "shares": {s.cause: {"share": s.share.value, "low": s.share.low, "high": s.share.high} for s in found.shares}
        if found
        else {},
    }
