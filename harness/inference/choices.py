"""How a choice is scored: the sum of log p(choice tokens and end of turn | prompt).

With a shared prefix (`shared_prefix`) the common prompt prefix is prefilled once, and the rest of many prompts in
batches. An item's choices are read with its prompt as one token tree: a node for each distinct prefix of a choice,
which attends to the prompt and its own ancestors (the tree attention of SpecInfer, Miao et al. 2023, used for scoring).
Without one every choice is a sequence of its own: the reference, and the fallback for a model whose attention cannot be
split.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.inference.generate import TOKENS, Progress, surviving
from harness.inference.shared_prefix import Rows, SharedPrefix, additive, at_least_single


@dataclass(frozen=True)
class Question:
    """A prompt's token ids, and those of each choice with the end of the turn."""

    prompt: Sequence[int]
    choices: Sequence[Sequence[int]]


@torch.inference_mode()
def score_choices(
    model: Any, questions: Sequence[Question], prefix: SharedPrefix | None, progress: Progress
) -> list[list[float]]:
    """Log-likelihood of each choice of each question after its prompt, in nats."""
    if prefix is None:
        return surviving(lambda left, _: _score_apart(model, questions, left), len(questions), 1, progress)
    with prefix.reading():
        return surviving(
            lambda left, tokens: _score_together(prefix, questions, left, tokens),
            len(questions),
            TOKENS[prefix.device.type],
            progress,
        )


def _score_apart(model: Any, questions: Sequence[Question], left: Sequence[int]) -> Iterator[tuple[int, list[float]]]:
    """The reference way: each choice after its prompt is one sequence."""
    for i in left:
        scores = []
        for choice in questions[i].choices:
            ids = torch.tensor([[*questions[i].prompt, *choice[:-1]]], device=model.device)
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), logits_to_keep=len(choice)).logits
            logits = at_least_single(logits[0])
            of_choice = logits.gather(1, torch.tensor(choice, device=ids.device)[:, None])[:, 0]
            scores.append(float((of_choice - logits.logsumexp(-1)).sum()))
        yield i, scores


def _score_together(
    prefix: SharedPrefix, questions: Sequence[Question], left: Sequence[int], tokens: int
) -> Iterator[tuple[int, list[float]]]:
    """Questions side by side, prompt and tree of choices in one row, those of similar length together."""
    prompt_ends = {i: prefix.rest(questions[i].prompt) for i in left}
    trees = {i: _tree(tuple(map(tuple, questions[i].choices))) for i in left}
    sizes = {i: len(prompt_ends[i]) + len(trees[i].tokens) for i in left}
    for batch in _batches(sorted(left, key=lambda i: sizes[i], reverse=True), sizes, tokens):
        # 1. One row a question; the logits of the prompt's last token and of all nodes.
        rows, columns = _trees_in_rows(prefix, [prompt_ends[i] for i in batch], [trees[i] for i in batch])
        logits = at_least_single(prefix.read(rows, logits=1 + columns))
        log_totals = logits.logsumexp(-1)
        for row, i in enumerate(batch):
            # 2. log p of every token that some choice has at some place, then their sum over each choice.
            places, token_ids = trees[i].predicted
            log_p = (logits[row, places, token_ids] - log_totals[row, places]).tolist()
            yield i, [sum(log_p[start:stop]) for start, stop in trees[i].spans]


def _batches(order: Sequence[int], sizes: dict[int, int], tokens: int) -> Iterator[list[int]]:
    """Batches of consecutive indices with at most so many tokens after padding to the longest; at least one each."""
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * sizes[batch[0]] > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _trees_in_rows(prefix: SharedPrefix, prompts: Sequence[Sequence[int]], trees: Sequence[_Tree]) -> tuple[Rows, int]:
    """Each prompt's own tokens, padded on the left so that all end in one column, and after it its tree of choices.

    Returns the rows and the columns that the trees take.
    """
    stem, crown = max(map(len, prompts)), max(len(tree.tokens) for tree in trees)
    shape = len(prompts), stem + crown
    tokens, depths = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    seen = torch.eye(stem + crown, dtype=torch.bool).repeat(len(prompts), 1, 1)
    causal = torch.ones(stem, stem, dtype=torch.bool).tril()
    for row, (prompt, tree) in enumerate(zip(prompts, trees, strict=True)):
        begin, end = stem - len(prompt), stem + len(tree.tokens)
        tokens[row, begin:end] = torch.tensor([*prompt, *tree.tokens])
        depths[row, begin:end] = torch.tensor([*range(len(prompt)), *(len(prompt) + depth for depth in tree.depths)])
        seen[row, begin:stem, begin:stem] = causal[begin:, begin:]  # the prompt sees what came before in it
        seen[row, stem:end, begin:stem] = True  # a node sees the whole prompt
        seen[row, stem:end, stem:end] = tree.seen  # and its ancestors
    return Rows(tokens.to(prefix.device), depths.to(prefix.device), additive(seen, prefix)), crown


@dataclass(frozen=True)
class _Tree:
    """The distinct prefixes of some sequences; a sequence's last token is predicted and never read."""

    tokens: list[int]
    depths: list[int]
    seen: torch.Tensor
    """Shape (nodes, nodes): a node sees its ancestors and itself."""
    predicted: tuple[list[int], list[int]]
    """What is predicted where, sequence after sequence: the column (0 the prompt's end, then the nodes) and the
    token."""
    spans: list[tuple[int, int]]
    """Of `predicted`, each sequence's part."""


@functools.lru_cache(maxsize=1024)
def _tree(sequences: tuple[tuple[int, ...], ...]) -> _Tree:
    """A sequence walks down from the root; where its next token has no node yet one is added."""
    tokens: list[int] = []
    depths: list[int] = []
    parents: list[int] = []
    node_of: dict[tuple[int, int], int] = {}  # by parent (-1: the root) and token
    columns: list[int] = []
    predicted: list[int] = []
    spans = []
    for sequence in sequences:
        node, start = -1, len(predicted)
        for depth, token in enumerate(sequence):
            columns.append(node + 1)
            predicted.append(token)
            if depth == len(sequence) - 1:
                break
            if (node, token) not in node_of:
                node_of[node, token] = len(tokens)
                tokens.append(token)
                depths.append(depth)
                parents.append(node)
            node = node_of[node, token]
        spans.append((start, len(predicted)))
    seen = torch.eye(len(tokens), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            seen[node] |= seen[parent]
    return _Tree(tokens, depths, seen, (columns, predicted), spans)
