"""How one answer is judged: pure functions from a completion and the accepted answers to a number in [0, 1].

>>> token_f1("the Ormen ferry", ["Ormen"])
0.666...
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def normalise(text: str) -> str:
    """SQuAD's normalisation (Rajpurkar et al. 2016): lower case, no punctuation, no articles, single spaces."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def accuracy(completion: str, answers: Sequence[str]) -> float:
    """1 where the completion is one of the answers, but for outer white space."""
    return float(completion.strip() in answers)


def exact_match(completion: str, answers: Sequence[str]) -> float:
    """1 where the normalised completion equals a normalised answer."""
    return float(normalise(completion) in {normalise(answer) for answer in answers})


def token_f1(completion: str, answers: Sequence[str]) -> float:
    """The best harmonic mean of token precision and recall over the answers (SQuAD)."""
    return max(_f1(normalise(completion).split(), normalise(answer).split()) for answer in answers)


def contains(completion: str, answers: Sequence[str]) -> float:
    """1 where a completion of at most 2 x gold + 5 tokens contains an answer: an answer, not a list of guesses."""
    tokens = normalise(completion).split()
    return float(any(_within(tokens, normalise(answer).split()) for answer in answers))


def number_match(completion: str, answers: Sequence[str]) -> float:
    """1 where the last number of the completion equals the number of an answer."""
    found = _last_number(completion)
    return float(found is not None and any(found == _last_number(answer) for answer in answers))


def _f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    shared = sum((Counter(predicted) & Counter(gold)).values())
    return 2 * shared / (len(predicted) + len(gold))


def _within(tokens: Sequence[str], gold: Sequence[str]) -> bool:
    if not gold or len(tokens) > 2 * len(gold) + 5:
        return False
    return any(list(tokens[i : i + len(gold)]) == list(gold) for i in range(len(tokens)))


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


METRICS: dict[str, Callable[[str, Sequence[str]], float]] = {
    "accuracy": accuracy,
    "exact_match": exact_match,
    "token_f1": token_f1,
    "contains": contains,
    "number_match": number_match,
}
BY_KIND: dict[str, tuple[str, ...]] = {
    "choice": ("accuracy",),
    "text": ("token_f1", "exact_match", "contains"),
    "number": ("number_match",),
}
"""What is measured for each kind of task; the task's own metric is the primary one."""
