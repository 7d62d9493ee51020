"""The reference run: seed 0 of each task with everything measured and other prompts, then the other seeds.

    python benchmarks/reference.py ticket_routing handbook_qa banking77=DIR squad=DIR [--seeds 1,2] [--results results]

Seed 0 chooses each trained method's learning rate on validation, of two; few-shot and RAG have two numbers of
demonstrations and passages, of which validation chooses as well. The other seeds draw other rows, demonstrations and
initial weights and train at that rate; latency is asked of seed 0 alone. So the other seeds may run on another machine,
and several of them side by side: their time and memory are then no figure of the report. HARNESS_MATMUL makes them
multiply as seed 0 did. What is finished is skipped, so this can be stopped and started again; each command is printed
before it runs.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys

from harness.records.reading import load_records
from harness.records.record import Record

OTHER_PROMPTS = (["method=few_shot", "context.k=8"], ["method=rag", "context.k=1"])
QUALITY_ALONE = ["measure.latency_requests=0", "measure.merged_items=0"]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("tasks", nargs="+", help="NAME, or NAME=DIR with a local copy of its rows")
    arguments.add_argument("--seeds", default="1,2")
    arguments.add_argument("--results", default="results")
    chosen = arguments.parse_args()
    tasks = [named(given, chosen.results) for given in chosen.tasks]
    for words in tasks:
        for prompt in ([], *OTHER_PROMPTS):
            run(*words, *prompt)
    for words in tasks:
        first = [s.record for s in load_records(f"{chosen.results}/reference,{words[0]},seed=0")]
        for record in (record for record in first if record.status == "ok" and varies(record)):
            run(*words, *again(record), f"seed={chosen.seeds}", *QUALITY_ALONE)


def named(given: str, results: str) -> list[str]:
    """The words of a command that name a task, the folder of its rows where one is given, and the results."""
    task, _, folder = given.partition("=")
    return [f"task={task}", *([f"task.source.path={folder}"] if folder else []), f"results={results}"]


def varies(record: Record) -> bool:
    """Whether another seed can give another result: it draws rows to learn from or to show."""
    return record.training is not None or record.context == "few_shot"


def again(record: Record) -> list[str]:
    """The method alone, at the rate that was chosen for it."""
    named = f"{record.method}_r{record.rank}" if record.method == "lora" else record.method
    if record.training:
        return [f"method={named}", f"++training.learning_rate={record.training.learning_rate:g}"]
    return [f"method={named}", f"context.k={record.config['context']['k']}"]


def run(*words: str) -> None:
    command = ["harness", "run", "experiment=reference", *words]
    print(f"$ {shlex.join(command)}", flush=True)
    subprocess.run([sys.executable, "-m", *command], check=False)  # a run that fails is in its record


if __name__ == "__main__":
    main()
