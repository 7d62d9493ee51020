"""Writes the rows of this task: all of one length, whatever the tokenizer makes of short words. Seed 0.

python tasks/fixed_length/generate.py
"""

import json
import random
from pathlib import Path

TEXT = (
    "act add age ago aid aim air all and ant any ape arc arm art ask ate bag bar bat bay bed bet bid big bit bow box "
    "boy bus but buy can cap car cat cow cry cup cut day dig dog dry due ear eat egg end eye far fee few fit fix fly "
    "for fox"
)
WORDS = TEXT.split()
COUNT = 122  # 122 words of three letters and their spaces: with chat template and answer 512 bytes, one a token
SIZES = {"train": 32, "validation": 4, "test": 20}


def main() -> None:
    draw = random.Random(0)
    for split, size in SIZES.items():
        rows = [{"id": f"{split}-{i}", "text": " ".join(draw.choices(WORDS, k=COUNT)) + "."} for i in range(size)]
        path = Path(__file__).parent / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
