"""What of a quickstart run is not the model computing, part by part.

    python benchmarks/overhead.py [--task handbook_choice]

Runs `experiment=quickstart`, or its cells on one of its tasks, after runs that leave the model, the index and compiled
files in their caches, as they are on the second day. The model computes while it is trained, validated and asked
(`inference`, `latency`; tokenising and judging are in there). Everything else is overhead: the command, the fork server
and a run's process starting, loading, preparing data, saving, the rest.
Ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time

from harness.measurement.machine import describe_device
from harness.records.reading import load_records

COMPUTING = ("training", "tuning", "validation", "inference", "latency", "retention")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--task")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tasks = [f"task={chosen.task}"] if chosen.task else []
        seconds(f"{folder}/first", *tasks, "method=rag")
        wall = seconds(f"{folder}/second", *tasks)
        runs = [stored.record for stored in load_records(f"{folder}/second")]
    print(f"{describe_device()[0]}: {len(runs)} runs in {wall:.0f} s")
    split: dict[str, float] = {}
    for record in runs:
        for part, value in (record.seconds or {}).items():
            split[part] = split.get(part, 0.0) + value
    split["starting the command and its runs"] = wall - sum(split.values())
    computing = sum(split.get(part, 0.0) for part in COMPUTING)
    for part, value in sorted(split.items(), key=lambda item: -item[1]):
        kind = "model" if part in COMPUTING else "overhead"
        print(f"{part:36} {value:7.2f} s  {value / wall:6.1%}  {kind}")
    print(f"overhead {1 - computing / wall:.1%} of the wall time")


def seconds(results: str, *words: str) -> float:
    command = [sys.executable, "-m", "harness", "run", "experiment=quickstart", f"results={results}", *words]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
