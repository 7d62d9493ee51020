"""What can be set of Span."""

from __future__ import annotations

from dataclasses import dataclass, field

from peft.config import PeftConfig

MISTAKES = ("scaled_twice", "idle")


@dataclass
class SpanConfig(PeftConfig):
    """A low-rank update of linear layers: r directions that start orthonormal, each with a learned gain."""

    r: int = field(default=8, metadata={"help": "directions of each layer's update"})
    alpha: float = field(default=16, metadata={"help": "the update is scaled by alpha / r"})
    target_modules: str | list[str] | None = field(
        default=None, metadata={"help": "names or an expression of the layers, or all-linear"}
    )
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "other modules to train and save"})
    mistake: str | None = field(
        default=None,
        metadata={"help": "one of MISTAKES, as a branch might have it: what a gate should catch"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = "SPAN"
        if self.r < 1:
            raise ValueError(f"r={self.r}: expected at least 1")
        if self.mistake not in (None, *MISTAKES):
            raise ValueError(f"mistake={self.mistake}: known are {', '.join(MISTAKES)}")
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)
