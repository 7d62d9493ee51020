"""What of a quickstart run is not the model computing, part by part.

    python benchmarks/overhead.py [--task ticket_routing] [--methods zero_shot,few_shot,lora_r4]

Runs the cells twice with the settings of `experiment=quickstart`, the second time into another folder, so that models,
indexes and compiled files are cached as they are on the second day; the second is what is shown. The model computes
while it is trained, validated and asked (`inference`, `latency`; tokenising and judging are in there). Everything else
is overhead: the command, the fork server and a run's process starting, loading, preparing data, saving, the rest.
Two minutes on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.environment import describe_device
from harness.records import load_records

COMPUTING = ("training", "tuning", "validation", "inference", "latency", "retention")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--task", default="ticket_routing")
    arguments.add_argument("--methods", default="zero_shot,few_shot,lora_r4")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        walls = [seconds(chosen.task, chosen.methods, Path(folder) / str(day)) for day in (1, 2)]
        runs = [stored.record for stored in load_records(f"{folder}/2")]
    print(
        f"{describe_device()[0]}, {chosen.task}, {chosen.methods}: {walls[1]:.0f} s ({walls[0]:.0f} s the first time)"
    )
    split: dict[str, float] = {}
    for record in runs:
        for part, value in (record.seconds or {}).items():
            split[part] = split.get(part, 0.0) + value
    split["starting the command and its runs"] = walls[1] - sum(split.values())
    computing = sum(split.get(part, 0.0) for part in COMPUTING)
    for part, value in sorted(split.items(), key=lambda item: -item[1]):
        kind = "model" if part in COMPUTING else "overhead"
        print(f"{part:36} {value:7.2f} s  {value / walls[1]:6.1%}  {kind}")
    print(f"overhead {1 - computing / walls[1]:.1%} of the wall time")


def seconds(task: str, methods: str, results: Path) -> float:
    words = ["experiment=quickstart", f"task={task}", f"method={methods}", f"results={results}"]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "harness", "run", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
