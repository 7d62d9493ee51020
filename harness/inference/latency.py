"""What one request takes: as it is, after a cached prefix, at a fixed length, and with the adapter merged."""

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
    """What single requests took, in milliseconds; nothing if none were made."""

    requests: Requests
    fixed: Requests | None = None
    """The same with answers of one length for every method, whatever the model would say."""
    retrieval_ms: Summary | None = None


def latency(respondent: Respondent, examples: Sequence[Example]) -> Timed:
    """Single requests from question to answer, one at a time, retrieval and tokenising included, after warm-up.

    Of a choice neither a first nor a further token is told: its tokens are not the model's to choose.
    """
    how = respondent.measure
    if not how.latency_requests:
        return Timed(Requests())
    for example in _requested(examples, how.warmup_requests):
        _request(respondent, example)
    index = respondent.context.index
    searched = len(index.search_seconds) if index else 0
    asked = [_timed(respondent, example) for example in _requested(examples, how.latency_requests)]
    choice = respondent.task.kind == "choice"
    return Timed(
        Requests(
            summary([whole for whole, _, _ in asked]),
            None if choice else summary([first for _, first, _ in asked]),
            None if choice else summary([each for _, _, each in asked if each is not None]),
        ),
        _fixed(respondent, examples) if how.fixed_tokens and how.fixed_requests else None,
        summary([1000 * seconds for seconds in index.search_seconds[searched:]]) if index else None,
    )


def prefix_cached(respondent: Respondent, examples: Sequence[Example]) -> PrefixCached | None:
    """Latency on a server that has read what all prompts begin with, and how many tokens that is.

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
    asked = _requested(examples, requests)
    return PrefixCached(len(prefix.ids), summary([_timed(respondent, one, prefix=prefix)[0] for one in asked]))


def _requested(examples: Sequence[Example], count: int) -> list[Example]:
    return [examples[i % len(examples)] for i in range(count)]


def _fixed(respondent: Respondent, examples: Sequence[Example]) -> Requests:
    tokens = respondent.measure.fixed_tokens
    asked = [_timed(respondent, e, tokens) for e in _requested(examples, respondent.measure.fixed_requests)]
    further = [each for _, _, each in asked if each is not None]
    whole, first = [times[0] for times in asked], [times[1] for times in asked]
    return Requests(summary(whole), summary(first), summary(further), tokens)


def _timed(
    respondent: Respondent, example: Example, fixed_tokens: int | None = None, prefix: SharedPrefix | None = None
) -> tuple[float, float, float | None]:
    """Milliseconds of one request as a server would have it: whole, to the first token, and of each further token."""
    respondent.context.forget()
    began = now()
    before, decoded = _request(respondent, example, fixed_tokens, prefix)
    whole = now() - began
    further = len(decoded.ids) - 1
    each = 1000 * (decoded.seconds - decoded.first_token_seconds) / further if further else None
    respondent.progress.step("latency", 0, 0)
    return 1000 * whole, 1000 * (before + decoded.first_token_seconds), each


def _request(
    respondent: Respondent, example: Example, fixed_tokens: int | None = None, prefix: SharedPrefix | None = None
) -> tuple[float, generate.Decoded]:
    """Answer one question; seconds until the model begins, and what it said."""
    began = now()
    prompt = respondent.prompt(example)
    choices = [] if fixed_tokens else [respondent.encoder.completion(choice) for choice in example.choices]
    before = now() - began
    end = None if fixed_tokens else respondent.encoder.end_of_turn
    most = fixed_tokens or respondent.task.max_new_tokens
    return before, generate.decode(respondent.model, prompt.ids, end, most, choices, prefix)


def merged(respondent: Respondent, examples: Sequence[Example], unmerged: Predictions) -> Merged:
    """Latency and quality with the adapter folded into the weights, and how far its logits move.

    Where the tuner refuses: `refused`, what PEFT said; the model may then be merged in part and answers nothing more.
    Quality is of the first items only, enough to see that merging changed nothing. Unmerged again afterwards.
    """
    some = list(examples[: respondent.measure.merged_items])
    prompts = [respondent.prompt(example).ids for example in some]
    before = [generate.last_logits(respondent.model, prompt) for prompt in prompts]
    try:
        respondent.model.merge_adapter()
    except (NotImplementedError, ValueError) as cause:  # how PEFT says that a tuner cannot
        return Merged(refused=f"{type(cause).__name__}: {cause}")
    after = [generate.last_logits(respondent.model, prompt) for prompt in prompts]
    timed = latency(respondent, examples)
    answers = answer(respondent, some, "answering merged")
    respondent.model.unmerge_adapter()
    completions = {prediction.id: prediction.completion for prediction in unmerged}
    same = sum(completions[prediction.id] == prediction.completion for prediction in answers)
    return Merged(
        timed.requests.latency_ms,
        timed.fixed,
        MergedScore(**vars(score(respondent.task, answers)), same_answers=same),
        max(float((a - b).abs().max()) for a, b in zip(after, before, strict=True)),
    )
