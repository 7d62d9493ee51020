"""A method's colour and mark, the same in every figure; Okabe and Ito's palette, safe for the colour-blind.

The colour says what happened to the weights (or, where nothing did, what is in the prompt), the mark what is
in the prompt: `rag_lora` has lora's blue and rag's square. Names are written beside the points, so neither
has to be decoded.
"""

from __future__ import annotations

import zlib

from harness.records.record import Record

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#808080"
# The palette's yellow is left out: on white it cannot be seen.

INK, FAINT, PAPER = "#222222", "#D9D9D9", "#FFFFFF"

UNTRAINED = {"zero_shot": BLACK, "instructed": GREY, "few_shot": ORANGE, "rag": SKY, "oracle": SKY}
TRAINED = {"full": PURPLE, "lora": BLUE, "qlora": VERMILION, "prefix": GREEN, "ia3": ORANGE}
MARKS = {"zero_shot": "o", "instructed": "v", "few_shot": "^", "rag": "s", "oracle": "D"}


def colour(record: Record) -> str:
    """Fixed for the methods that ship; one of the palette, always the same one, for any other name."""
    if record.adaptation == "none" and record.context in UNTRAINED:
        return UNTRAINED[record.context]
    if record.adaptation in TRAINED:
        return TRAINED[record.adaptation]
    others = (ORANGE, GREEN, VERMILION, PURPLE, SKY)
    return others[zlib.crc32(record.adaptation.encode()) % len(others)]


def mark(record: Record) -> str:
    return MARKS.get(record.context, "o")
