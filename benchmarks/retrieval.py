"""What each retriever finds: recall@k, MRR and nDCG over all test questions of a task, without a language model.

    python benchmarks/retrieval.py squad --source DIR [--k 5]

DIR is a local copy of the rows of a public task. Every retriever searches the task's whole corpus with the same
questions; those without a gold passage are left out. Prints figures with 95 % intervals over the questions, and the
median time of a search in this process (embedding the question included). Seconds, once the index is built.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import get_args

from harness.contexts.context_settings import ContextSettings, Retriever
from harness.contexts.retrieval import Index, ranking_quality
from harness.settings import task_folder
from harness.stats import interval
from harness.tasks.definition import load_task


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("task")
    arguments.add_argument("--source", type=Path)
    arguments.add_argument("--k", type=int, default=5)
    chosen = arguments.parse_args()
    task = load_task(task_folder(chosen.task, None), chosen.source)
    asked = [example for example in task.splits["test"] if example.evidence]
    print(f"{task.name}: {len(asked)} questions, {len(task.corpus)} passages, k = {chosen.k}")
    for retriever in get_args(Retriever):
        index = Index.build(task.corpus, ContextSettings("rag", retriever=retriever))
        index.search(asked[0].query, chosen.k)  # the embedder loads
        found, seconds = {}, []
        for example in asked:
            began = time.perf_counter()
            found[example.id] = [p.document for p in index.search_for(example, chosen.k)]
            seconds.append(time.perf_counter() - began)
        each = [ranking_quality(found[example.id], example.evidence) for example in asked]
        figures = ", ".join(f"{name} {_said([one[name] for one in each])}" for name in each[0])
        print(f"{retriever:7} {figures}, {1000 * statistics.median(seconds):.1f} ms")


def _said(values: list[float]) -> str:
    estimate = interval(values)
    assert estimate is not None
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


if __name__ == "__main__":
    main()
