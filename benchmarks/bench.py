"""The harness against the tools that people would use instead, on the same machine, model, items and settings.

    make bench DATA=DIR                    everything, about an hour on two cores
    make bench DATA=DIR ONLY=train_cell    some of it; the other lines of results.json stay

DIR holds banking77, squad, gsm8k and blimp as folders of rows. The peers run in an environment of their own
(benchmarks/peers): lm-evaluation-harness's Hugging Face backend at the best batch size of those tried, a plain
SFTTrainer script, and for the matrix one plain script for each cell. Both sides answer in turn, at least three times; a
ratio is the median of the rounds' ratios, over 1 where the harness is better. Model loading is not counted but in the
matrix, where everything is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness import paths
from harness.contexts.chat_format import Encoder
from harness.contexts.context import bind
from harness.embedding import packaged_embedder
from harness.measurement import matmul
from harness.measurement.machine import describe_device
from harness.models import loading
from harness.records.reading import load_records
from harness.records.record import Record
from harness.sweep.compose import compositions
from harness.tasks.task import Example

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PEERS = Path(".venv-peers/bin/python")
ROUNDS = 3
LABELS = 8
END = "<|im_end|>"


@dataclass(frozen=True)
class Line:
    """One comparison; `ours` and `peer` in the stated unit."""

    name: str
    ours: float
    peer: float
    ratio: float
    spread: tuple[float, float]
    # the lowest and the highest ratio of a round
    agreement: str
    machine: str
    unit: str
    date: str
    rounds: int
    notes: str = ""

    def __str__(self) -> str:
        low, high = self.spread
        said = (
            f"{self.name:24} {self.ratio:5.2f} times ({low:.2f} to {high:.2f}): {self.ours:.3g} against {self.peer:.3g}"
        )
        return f"{said} {self.unit}; {self.agreement}" + (f"; {self.notes}" if self.notes else "")


@dataclass(frozen=True)
class Asked:
    """What is benchmarked on: the model, rows and their prompts as texts."""

    data: Path
    model: str

    def settings(self, *words: str) -> Any:
        (found,) = compositions([f"model={self.model}", f"task.source.root={self.data}", *words])
        return found

    def folder(self) -> str:
        return loading.locate(self.settings("task=banking77").model)[0]

    def prompts(self, task: str, context: str, count: int, labels: int | None = None) -> list[tuple[str, Example]]:
        """Test items with their prompts; `labels`: only items of the first so many labels, which are the choices."""
        settings = self.settings(f"task={task}", f"method={context}", "++context.k=8")
        loaded = settings.load_task()
        pool, items = loaded.splits["train" if "train" in loaded.splits else "validation"], loaded.splits["test"]
        if labels:
            kept = sorted({example.answer for example in items})[:labels]
            pool, items = ([e for e in rows if e.answer in kept] for rows in (pool, items))
            items = [replace(example, choices=tuple(kept)) for example in items]
        bound = bind(settings.context, replace(loaded, splits={**loaded.splits, "train": pool}), pool, seed=0)
        encoder = Encoder(loading.load_tokenizer(settings.model))
        step = max(1, len(items) // count)
        return [(encoder.text(bound.render(example)), example) for example in items[::step][:count]]


class Worker:
    """A process that answers calls; see peers/talk.py."""

    def __init__(self, python: str, script: Path) -> None:
        self._process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._script = script

    def call(self, name: str, **arguments: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"call": name, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"{self._script}: ended in the middle of {name}; run it by hand to see why.")
        return json.loads(answer)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextlib.contextmanager
def workers(*asked: tuple[str, Path]) -> Iterator[list[Worker]]:
    started = [Worker(*one) for one in asked]
    try:
        yield started
    finally:
        for worker in started:
            worker.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--only", default="", help="names, comma-separated")
    arguments.add_argument("--model", default="smollm2-135m-q4")
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = arguments.parse_args()
    names = [name for name in chosen.only.split(",") if name] or list(BENCHMARKS)
    asked = Asked(chosen.data.resolve(), chosen.model)
    loading.make_ready(asked.settings("task=banking77").model)
    print(f"{describe_device()[0]}, {asked.model}", flush=True)
    for name in names:
        keep(BENCHMARKS[name](name, asked, chosen.rounds))


def keep(line: Line) -> None:
    """Print a line and put it in the place of the last one of its name."""
    print(line, flush=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    order = list(BENCHMARKS)
    lines = {entry["name"]: entry for entry in kept} | {line.name: asdict(line)}
    RESULTS.write_text(json.dumps(sorted(lines.values(), key=lambda e: order.index(e["name"])), indent=2) + "\n")


def compared(
    name: str, ours: Sequence[float], peer: Sequence[float], work: float, unit: str, agreement: str, notes: str = ""
) -> Line:
    """A line from each round's seconds; `work` items are done in each, 0 where seconds are what is compared."""
    ratios = [theirs / own for own, theirs in zip(ours, peer, strict=True)]
    shown = [work / statistics.median(seconds) if work else statistics.median(seconds) for seconds in (ours, peer)]
    spread = (min(ratios), max(ratios))
    machine, date = f"{describe_device()[0]}, our products by {matmul.chosen()}", time.strftime("%Y-%m-%d")
    return Line(
        name, *shown, statistics.median(ratios), spread, agreement, machine, unit, date, len(ratios), notes
    )  # fmt: skip


def choice(task: str, context: str, count: int, labels: int | None) -> Callable[[str, Asked, int], Line]:
    def run(name: str, asked: Asked, rounds: int) -> Line:
        prompts = asked.prompts(task, context, count, labels)
        questions = [as_lm_eval_splits(text, example.choices) for text, example in prompts]
        ended = [{**question, "choices": [choice + END for choice in question["choices"]]} for question in questions]
        with workers((sys.executable, HERE / "ours_worker.py"), (str(PEERS), HERE / "peers/lm_eval_worker.py")) as pair:
            ours, peer = pair
            ours.call("load", overrides=[f"model={asked.model}"])
            peer.call("load", folder=asked.folder())
            size, tried = best(
                lambda batch: peer.call("choices", questions=ended[:2], batch_size=batch)["seconds"], (1, 4, 16)
            )
            ours.call("choices", questions=questions[:2])
            rounds_done = [
                (ours.call("choices", questions=questions), peer.call("choices", questions=ended, batch_size=size))
                for _ in range(rounds)
            ]
        own, theirs = rounds_done[-1]
        both = list(zip(own["scores"], theirs["scores"], strict=True))
        apart = [abs(a - b) for x, y in both for a, b in zip(x, y, strict=True)]
        close = sum(distance <= 1e-4 for distance in apart) / len(apart)
        same = sum(x.index(max(x)) == y.index(max(y)) for x, y in both)
        limit = own["tokens"]["apart"] / own["tokens"]["shared"]
        return compared(
            name,
            [round[0]["seconds"] for round in rounds_done],
            [round[1]["seconds"] for round in rounds_done],
            len(questions),
            "items/s",
            f"same choice on {same} of {len(questions)}, log-likelihoods within {max(apart):.1e}, "
            f"{close:.0%} of them within 1e-4",
            f"limit by token count {limit:.1f}; lm-eval at batch {size} of {tried}",
        )

    return run


def as_lm_eval_splits(prompt: str, choices: Sequence[str]) -> dict[str, Any]:
    """lm-eval counts the white space that ends a prompt as the beginning of each choice; so both sides do here."""
    bare = prompt.rstrip()
    return {"prompt": bare, "choices": [prompt[len(bare) :] + choice for choice in choices]}


def best(seconds: Callable[[int], float], sizes: Sequence[int]) -> tuple[int, str]:
    """The fastest batch size of those tried, and all of them."""
    found = {size: seconds(size) for size in sizes}
    return min(found, key=lambda size: found[size]), ", ".join(map(str, sizes))


def generation(
    context: str, counts: dict[str, int], most: int, sizes: Sequence[int]
) -> Callable[[str, Asked, int], Line]:
    def run(name: str, asked: Asked, rounds: int) -> Line:
        parts = [[text for text, _ in asked.prompts(task, context, count)] for task, count in counts.items()]
        with workers((sys.executable, HERE / "ours_worker.py"), (str(PEERS), HERE / "peers/lm_eval_worker.py")) as pair:
            ours, peer = pair
            ours.call("load", overrides=[f"model={asked.model}"])
            peer.call("load", folder=asked.folder())
            some = {"prompts": parts[-1], "most": most, "end": END}
            size, tried = best(lambda batch: peer.call("generate", **some, batch_size=batch)["seconds"], sizes)
            ours.call("generate", prompts=parts[0][:2], most=8)
            rounds_done = [
                (
                    [ours.call("generate", prompts=part, most=most) for part in parts],
                    [peer.call("generate", prompts=part, most=most, end=END, batch_size=size) for part in parts],
                )
                for _ in range(rounds)
            ]
        own, theirs = ([answer for part in side for answer in part["answers"]] for side in rounds_done[-1])
        same = sum(a == b for a, b in zip(own, theirs, strict=True))
        return compared(
            name,
            [sum(part["seconds"] for part in round[0]) for round in rounds_done],
            [sum(part["seconds"] for part in round[1]) for round in rounds_done],
            len(own),
            "items/s",
            f"same answer on {same} of {len(own)}",
            f"{', '.join(counts)}; at most {most} tokens; lm-eval at batch {size} of {tried}",
        )

    return run


def training(tasks: Sequence[str], count: int, context: str = "zero_shot") -> Callable[[str, Asked, int], Line]:
    settings = {"epochs": 1, "learning_rate": 2e-4, "batch_size": 8, "warmup": 0.1}
    rank = 8

    def run(name: str, asked: Asked, rounds: int) -> Line:
        rows = [
            {"prompt": text, "completion": example.answer}
            for task in tasks
            for text, example in asked.prompts(task, context, count // len(tasks))
        ]
        words = [f"model={asked.model}", "method=lora", f"rank={rank}"]
        words += [f"++training.{knob}={value}" for knob, value in settings.items()]
        peft = asked.settings("task=banking77", *words[1:]).adaptation.peft
        lora = {name: value for name, value in peft.items() if name not in ("_target_", "task_type")}
        with workers((sys.executable, HERE / "ours_worker.py"), (str(PEERS), HERE / "peers/trl_worker.py")) as pair:
            ours, peer = pair
            folder = asked.folder()
            both = [
                (
                    ours.call("fit", overrides=words, rows=rows),
                    peer.call("train", folder=folder, rows=rows, lora=lora, settings=settings),
                )
                for _ in range(rounds)
            ]
        own, theirs = both[-1]
        return compared(
            name,
            [round[0]["seconds"] for round in both],
            [round[1]["seconds"] for round in both],
            own["tokens"],
            "tokens/s",
            f"loss of the last step {own['loss']:.3f} and {theirs['loss']:.3f}",
            f"LoRA r{rank}, {len(rows)} rows of {', '.join(tasks)} in batches of {settings['batch_size']}",
        )

    return run


TASKS = ("handbook_qa", "squad")
CELLS: dict[str, tuple[str, str, int | None]] = {
    "zero_shot": ("zero_shot", "zero_shot", None),
    "few_shot": ("few_shot", "few_shot", None),
    "rag": ("rag", "rag", None),
    "lora_r4": ("lora r4", "zero_shot", 4),
    "lora_r16": ("lora r16", "zero_shot", 16),
    "rag_lora": ("rag_lora r8", "rag", 8),
}
"""The methods of the matrix: each one's label in a record, its context and its rank."""
SIZE = {"max_train_examples": 8, "max_eval_examples": 6, "max_validation_examples": 0}
TRAINING = {"epochs": 1, "learning_rate": 2e-4, "batch_size": 2, "warmup": 0.1}


def matrix(name: str, asked: Asked, rounds: int) -> Line:
    """Start-up, loading, training, indexing and answering of every cell; the model's conversion is done before."""
    specs = [spec for task in TASKS for spec in cells(asked, task)]
    ours, peer, values = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            run_harness(asked, Path(folder))
            ours.append(time.perf_counter() - began)
            own = {(r.task, r.label): scored(r) for r in records(f"{folder}/results")}
            began = time.perf_counter()
            theirs = {(spec["task"], spec["label"]): run_script(spec, Path(folder)) for spec in specs}
            peer.append(time.perf_counter() - began)
            values = [(own[cell], theirs[cell]) for cell in theirs]
    apart = [abs(a - b) for a, b in values]
    ours_mean, peer_mean = (statistics.fmean(side) for side in zip(*values, strict=True))
    agreement = f"mean score of the cells {ours_mean:.2f} and {peer_mean:.2f}"
    notes = f"{len(specs)} cells; the furthest cell's scores differ by {max(apart):.2f}"
    return compared(name, ours, peer, 0, "s", agreement, notes)


def run_harness(asked: Asked, folder: Path) -> None:
    """`harness run` over the matrix, with a cache that holds nothing but the converted model."""
    cache = folder / "cache"
    cache.mkdir()
    (cache / "models").symlink_to(paths.cache().resolve() / "models")
    measure: dict[str, object] = {"latency_requests": 0, "merged_items": 0, "retention_items": "null"}
    measure["exact_memory"] = "false"  # the scripts measure none of this
    words = [
        f"task={','.join(TASKS)}",
        f"method={','.join(CELLS)}",
        f"model={asked.model}",
        f"task.source.root={asked.data}",
    ]
    words += [f"{knob}={value}" for knob, value in SIZE.items()]
    words += [f"measure.{knob}={value}" for knob, value in measure.items()]
    words += [f"++training.{knob}={value}" for knob, value in TRAINING.items()]
    command = [sys.executable, "-m", "harness", "run", "-m", *words, f"results={folder / 'results'}"]
    subprocess.run(command, check=True, env={**os.environ, "HARNESS_CACHE": str(cache)}, stdout=subprocess.DEVNULL)


def run_script(spec: dict[str, Any], folder: Path) -> float:
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    command = [str(PEERS), str(HERE / "peers/cell.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1])["value"])


def cells(asked: Asked, task: str) -> Iterator[dict[str, Any]]:
    """What each script is told: the same rows, demonstrations and settings as the harness uses."""
    settings = asked.settings(f"task={task}", "method=few_shot")
    loaded = settings.load_task()
    pool = loaded.take("train", SIZE["max_train_examples"], 0)
    test = loaded.take("test", SIZE["max_eval_examples"])
    shown = bind(settings.context, loaded, pool, seed=0).gather(test[0]).demonstrations
    k = asked.settings(f"task={task}", "method=rag").context.k
    for method, (label, context, rank) in CELLS.items():
        yield {
            "task": task,
            "method": method,
            "label": label,
            "rank": rank,
            "context": context,
            "model": asked.folder(),
            "embedder": str(packaged_embedder()),
            "train": [plain(example) for example in pool],
            "test": [plain(example) for example in test],
            "demonstrations": [plain(example) for example in shown],
            "corpus": [passage.shown for passage in loaded.corpus],
            "k": k,
            "most": loaded.max_new_tokens,
            "end": END,
            "settings": TRAINING,
            "batch_size": 4 if loaded.kind == "choice" else SIZE["max_eval_examples"],
        }


def records(folder: str) -> list[Record]:
    return [stored.record for stored in load_records(folder)]


def scored(record: Record) -> float:
    if not record.quality or record.quality.value is None:
        sys.exit(f"{record.task} {record.method}: {record.status}, {record.error}")
    return record.quality.value


def plain(example: Example) -> dict[str, Any]:
    return {"prompt": example.prompt, "answer": example.answer, "choices": list(example.choices)}


BENCHMARKS: dict[str, Callable[[str, Asked, int], Line]] = {
    "few_shot_choice": choice("banking77", "few_shot", 16, LABELS),
    "zero_shot_choice": choice("banking77", "zero_shot", 40, LABELS),
    "zero_shot_choice_blimp": choice("blimp", "zero_shot", 40, None),
    "few_shot_generation": generation("few_shot", {"squad": 16, "gsm8k": 16}, 32, (4, 8, 16)),
    "zero_shot_generation": generation("zero_shot", {"squad": 24, "gsm8k": 24}, 32, (8, 24)),
    "train_cell": training(["banking77"], 96),
    "train_cell_mixed": training(["banking77", "squad", "gsm8k"], 48),
    "matrix": matrix,
}


if __name__ == "__main__":
    main()
