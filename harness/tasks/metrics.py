"""Metrics of one answer: pure functions from a completion and the accepted answers to a number in [0, 1].

>>> token_f1("the Ormen ferry", ["Ormen"])
0.666...

Metrics that need more than the accepted answers (a schema, a database, reply rules) are in scoring.py.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.tasks.numbers import last_number

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_FENCE = re.compile(r"\A```[a-zA-Z]*\n(.*?)\n?```\Z", re.DOTALL)
_WORD = re.compile(r"[^\W_]+")


def normalise(text: str) -> str:
    """SQuAD's normalisation (Rajpurkar et al. 2016): lower case, no punctuation, no articles, single spaces."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def unfenced(text: str) -> str:
    """The text without the Markdown fence that chat models put around code, if one fence encloses everything."""
    stripped = text.strip()
    fenced = _FENCE.match(stripped)
    return fenced[1].strip() if fenced else stripped


def accuracy(completion: str, answers: Sequence[str]) -> float:
    """1 if the completion, stripped of outer white space, is one of the answers."""
    return float(completion.strip() in answers)


def exact_match(completion: str, answers: Sequence[str]) -> float:
    """1 if the normalised completion equals a normalised answer."""
    return float(normalise(completion) in {normalise(answer) for answer in answers})


def token_f1(completion: str, answers: Sequence[str]) -> float:
    """The best harmonic mean of token precision and recall over the answers (SQuAD)."""
    return max(_f1(normalise(completion).split(), normalise(answer).split()) for answer in answers)


def contains(completion: str, answers: Sequence[str]) -> float:
    """1 if the completion contains an answer and has at most 2 x gold + 5 tokens, so a list of guesses scores 0."""
    tokens = normalise(completion).split()
    return float(any(_within(tokens, normalise(answer).split()) for answer in answers))


def number_match(completion: str, answers: Sequence[str]) -> float:
    """1 if the last number of the completion equals the last number of an answer."""
    number = last_number(completion)
    return float(number is not None and any(number == last_number(answer) for answer in answers))


def chrf(completion: str, answers: Sequence[str]) -> float:
    """chrF2 (Popovic 2015) against the best of the answers: overlap of character n-grams up to 6, by sacrebleu."""
    import sacrebleu

    return float(sacrebleu.sentence_chrf(completion, list(answers)).score) / 100


def bleu(completion: str, answers: Sequence[str]) -> float:
    """Sentence BLEU with effective order (sacrebleu) against all answers; per item, so that items can be paired."""
    import sacrebleu

    return float(sacrebleu.sentence_bleu(completion, list(answers)).score) / 100


def rouge_l(completion: str, answers: Sequence[str]) -> float:
    """ROUGE-L (Lin 2004): F1 of the longest common subsequence of words, the best over the answers."""
    words = _WORD.findall(completion.lower())
    return max(_rouge_l(words, _WORD.findall(answer.lower())) for answer in answers)


def field_f1(completion: str, answers: Sequence[str]) -> float:
    """F1 over the fields of a JSON object; 0 if the completion is not JSON.

    A field is a path and a value. Numbers compare as numbers, texts without outer white space. Elements of a list
    have the list's path, so their order does not count.
    """
    parsed = parse_json(completion)
    if parsed is None:
        return 0.0
    return max(_f1(list(_leaves(parsed)), list(_leaves(json.loads(answer)))) for answer in answers)


def exact_json(completion: str, answers: Sequence[str]) -> float:
    """1 if every field of a JSON object is right and none is added."""
    return float(field_f1(completion, answers) == 1.0)


def parse_json(completion: str) -> Any | None:
    """The JSON object or list in a completion, with or without a Markdown fence; None if it is neither."""
    try:
        parsed = json.loads(unfenced(completion))
    except (json.JSONDecodeError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict | list) else None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of every scalar in a JSON value."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves(part, f"{path}.{name}")
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, f"{path}[]")
    else:
        yield path, _comparable(value)


def _comparable(value: Any) -> tuple[str, Any]:
    """A JSON scalar with its kind, since True == 1 in Python."""
    if isinstance(value, bool) or value is None:
        return "literal", value
    if isinstance(value, int | float):
        return "number", round(float(value), 9)
    return "text", value.strip()


def _f1(predicted: Sequence[Any], gold: Sequence[Any]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    shared = sum((Counter(predicted) & Counter(gold)).values())
    return 2 * shared / (len(predicted) + len(gold))


def _rouge_l(predicted: Sequence[str], gold: Sequence[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    row = [0] * (len(gold) + 1)
    for word in predicted:
        before = 0
        for i, other in enumerate(gold, start=1):
            before, row[i] = row[i], before + 1 if word == other else max(row[i], row[i - 1])
    return 2 * row[-1] / (len(predicted) + len(gold))


def _within(tokens: Sequence[str], gold: Sequence[str]) -> bool:
    if not gold or len(tokens) > 2 * len(gold) + 5:
        return False
    return any(list(tokens[i : i + len(gold)]) == list(gold) for i in range(len(tokens)))


FROM_ANSWERS: dict[str, tuple[str, ...]] = {
    "choice": ("accuracy",),
    "text": ("token_f1", "exact_match", "contains", "chrf", "rouge_l", "bleu"),
    "number": ("number_match",),
}
"""The metrics of the kinds of task that need only the accepted answers."""
METRICS: dict[str, Callable[[str, Sequence[str]], float]] = {
    "accuracy": accuracy,
    "exact_match": exact_match,
    "token_f1": token_f1,
    "contains": contains,
    "chrf": chrf,
    "bleu": bleu,
    "rouge_l": rouge_l,
    "number_match": number_match,
    "field_f1": field_f1,
    "exact_json": exact_json,
}
"""Every metric that needs only the accepted answers, by its name in records."""
HIGHER_IS_BETTER: dict[str, bool] = {
    **dict.fromkeys(METRICS, True),
    **dict.fromkeys(("valid_json", "execution_accuracy", "valid_sql", "rules_kept", "all_rules_kept"), True),
    **dict.fromkeys(("unsupported_answer", "needlessly_abstained", "outdated"), False),
}
"""Whether higher is better, for every metric of a record that has a direction; other metrics have none."""
