"""What an unmerged LoRA adds to the time of an answer, and whether merging takes it away again.

    python benchmarks/merged_latency.py [--rounds 7] [--rank 8]

The base alone, the base with a LoRA, and the same LoRA merged answer the same prompt with an answer of the same length,
one after the other in every round; the ratio of a round is to its own base. Prints the median ratios with their range.
Two minutes on two cores.
"""

from __future__ import annotations

import argparse
import statistics

import harness.sweep.preload  # noqa: F401  # isort: skip  (as runs have it)
import torch

from harness.adaptation import peft_model
from harness.inference import generate
from harness.measurement.machine import describe_device
from harness.models import loading
from harness.settings import Adaptation
from harness.sweep.compose import compositions

PROMPT, ANSWER = 128, 32  # tokens


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--rank", type=int, default=8)
    chosen = arguments.parse_args()
    (settings,) = compositions(["method=lora", f"rank={chosen.rank}"])
    loading.make_ready(settings.model)
    none = Adaptation(None, None, None, None)
    base, lora, merged = (
        peft_model.attach(a, settings.model).model for a in (none, settings.adaptation, settings.adaptation)
    )
    for model in (lora, merged):
        fill(model)
    merged.merge_adapter()
    print(describe_device()[0])
    print(f"{PROMPT} tokens asked, {ANSWER} answered; largest difference of logits {difference(lora, merged):.1e}")
    for model in (base, lora, merged):
        seconds(model)  # warm-up
    rounds = [[seconds(model) for model in (base, lora, merged)] for _ in range(chosen.rounds)]
    print(f"base          {statistics.median(r[0] for r in rounds):.2f} s")
    for name, place in (("unmerged LoRA", 1), ("merged LoRA", 2)):
        ratios = [r[place] / r[0] for r in rounds]
        print(f"{name:13} {statistics.median(ratios):.2f} times the base ({min(ratios):.2f} to {max(ratios):.2f})")


def fill(model: torch.nn.Module) -> None:
    """Numbers as after training: an untrained LoRA adds nothing."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.01)


def seconds(model: torch.nn.Module) -> float:
    return generate.decode(model, range(100, 100 + PROMPT), None, ANSWER).seconds


def difference(one: torch.nn.Module, other: torch.nn.Module) -> float:
    prompt = range(100, 100 + PROMPT)
    return float((generate.last_logits(one, prompt) - generate.last_logits(other, prompt)).abs().max())


if __name__ == "__main__":
    main()
