"""Latency of one request: normal, with a cached prefix, with a fixed answer length, and with the adapter merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.inference import generate
from harness.inference.evaluate import Predictions, Respondent, answer, prefix_of, score
from harness.inference.shared_prefix import SharedPrefix
from harness.measurement.meter import now
from harness.records.record import Merged, MergedScore, PrefixCached, Requests
from harness.stats import Summary, summary
from harness.tasks.task import Example


@dataclass(frozen=True)
class Timed:
    """Latency of single requests, in milliseconds; empty if none were made."""

    requests: Requests
    fixed: Requests | None = None
    """The same with a fixed answer length for every method; the end of the turn is ignored."""
    retrieval_ms: Summary | None = None


def latency(respondent: Respondent, examples: Sequence[Example]) -> Timed:
    """Single requests from question to answer, one at a time, retrieval and tokenising included, after warm-up.

    Choice tasks have no first-token and per-token times: the model does not choose the tokens freely.
    """
    how = respondent.measure
    if not how.latency_requests:
        return Timed(Requests())
    for example in _requested(examples, how.warmup_requests):
        _timed(respondent, example)
    timed = _time_each(respondent, _requested(examples, how.latency_requests))
    choice = respondent.task.kind == "choice"
    return Timed(
        Requests(
            summary([one.whole for one in timed]),
            None if choice else summary([one.first_token for one in timed]),
            None if choice else summary([one.per_token for one in timed if one.per_token is not None]),
        ),
        _fixed(respondent, examples) if how.fixed_tokens and how.fixed_requests else None,
        summary([one.gathering for one in timed]) if respondent.context.index else None,
    )


def prefix_cached(respondent: Respondent, examples: Sequence[Example]) -> PrefixCached | None:
    """Latency on a server that has cached the common prompt prefix, and the length of that prefix.

    Every other latency is of one that reads each prompt from its first token. None if no prefix is shared or no request
    is made.
    """
    requests = respondent.measure.cached_requests
    requests = respondent.measure.latency_requests if requests is None else requests
    if not requests:
        return None
    prefix = prefix_of(respondent, [respondent.prompt(example).ids for example in examples])
    if prefix is None:
        return None
    timed = _time_each(respondent, _requested(examples, requests), prefix=prefix)
    return PrefixCached(len(prefix.ids), summary([one.whole for one in timed]))


def _requested(examples: Sequence[Example], count: int) -> list[Example]:
    return [examples[i % len(examples)] for i in range(count)]


def warm_ups(requested: Sequence[Example], device_type: str) -> list[Example]:
    """Requests to make untimed just before the timed ones: the same ones on a GPU, none on a CPU.

    A GPU loads kernels for each new shape, thus for each prompt length, and raises its clock only under load.
    """
    return list(requested) if device_type == "cuda" else []


def _fixed(respondent: Respondent, examples: Sequence[Example]) -> Requests:
    tokens = respondent.measure.fixed_tokens
    timed = _time_each(respondent, _requested(examples, respondent.measure.fixed_requests), tokens)
    return Requests(
        summary([one.whole for one in timed]),
        summary([one.first_token for one in timed]),
        summary([one.per_token for one in timed if one.per_token is not None]),
        tokens,
    )


@dataclass(frozen=True)
class _Request:
    """Milliseconds of one request as a server would have it."""

    gathering: float
    """Until its passages are found and its demonstrations chosen."""
    first_token: float
    whole: float
    per_token: float | None
    """Of each token after the first; None if there is none."""


def _time_each(
    respondent: Respondent,
    requested: Sequence[Example],
    fixed_tokens: int | None = None,
    prefix: SharedPrefix | None = None,
) -> list[_Request]:
    """Time requests one at a time, after their warm-up."""
    for example in warm_ups(requested, respondent.model.device.type):
        _timed(respondent, example, fixed_tokens, prefix)
    return [_timed(respondent, example, fixed_tokens, prefix) for example in requested]


def _timed(
    respondent: Respondent, example: Example, fixed_tokens: int | None = None, prefix: SharedPrefix | None = None
) -> _Request:
    """Time one request from question to answer."""
    began = now()
    material = respondent.context.gather(example)
    gathered = now()
    prompt = respondent.prompt(example, material)
    choices = [] if fixed_tokens else [respondent.encoder.completion(choice) for choice in example.choices]
    end = None if fixed_tokens else respondent.encoder.end_of_turn
    most = fixed_tokens or respondent.task.max_new_tokens
    rendered = now()
    decoded = generate.decode(respondent.model, prompt.ids, end, most, choices, prefix)
    ended = now()
    further = len(decoded.ids) - 1
    respondent.progress.step("latency", 0, 0)
    return _Request(
        1000 * (gathered - began),
        1000 * (rendered - began + decoded.first_token_seconds),
        1000 * (ended - began),
        1000 * (decoded.seconds - decoded.first_token_seconds) / further if further else None,
    )


def merged(respondent: Respondent, examples: Sequence[Example], unmerged: Predictions) -> Merged:
    """Latency and quality with the adapter folded into the weights, and how far its logits move.

    Where the tuner cannot merge: `refused`, PEFT's message; the model may then be merged in part and is used no more.
    Quality is of the first items only, enough to see that merging changed nothing. Unmerged again afterwards.
    """
    checked = list(examples[: respondent.measure.merged_items])
    prompts = [respondent.prompt(example).ids for example in checked]
    before = [generate.last_logits(respondent.model, prompt) for prompt in prompts]
    try:
        respondent.model.merge_adapter()
    except (NotImplementedError, ValueError) as cause:  # how PEFT says that a tuner cannot
        return Merged(refused=f"{type(cause).__name__}: {cause}")
    after = [generate.last_logits(respondent.model, prompt) for prompt in prompts]
    timed = latency(respondent, examples)
    answers = answer(respondent, checked, "answering merged")
    respondent.model.unmerge_adapter()
    completions = {prediction.id: prediction.completion for prediction in unmerged}
    same = sum(completions[prediction.id] == prediction.completion for prediction in answers)
    return Merged(
        timed.requests.latency_ms,
        timed.fixed,
        MergedScore(**vars(score(respondent.task, answers)), same_answers=same),
        max(float((a - b).abs().max()) for a, b in zip(after, before, strict=True)),
    )
