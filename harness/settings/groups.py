"""The groups of a configuration, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from harness.models.model_settings import ModelSettings

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]


@dataclass(frozen=True)
class Seeds:
    """Seeds by purpose."""

    train: Count
    demonstrations: Count
    data: Count
    """Which labelled rows are drawn."""


@dataclass(frozen=True)
class Knobs:
    """The settings outside the groups."""

    seed: Count
    seeds: Seeds
    rank: Positive | None
    max_train_examples: Positive | None
    max_eval_examples: Positive | None
    max_validation_examples: Count | None
    results: Annotated[str, msgspec.Meta(min_length=1, extra_json_schema={"description": "a folder"})]
    keep_weights: Literal["adapters", "all", "none"]
    reuse: Literal["same", "any"]


@dataclass(frozen=True)
class LocalRows:
    """Local copies of the rows that a task would take from the hub."""

    path: str | None = None
    """The folder of this task's copy."""
    root: str | None = None
    """A folder of such folders."""


@dataclass(frozen=True)
class TaskSettings:
    """Which task, and where its rows are."""

    name: str
    path: str | None = None
    """The folder of a task that is not included."""
    source: LocalRows = field(default_factory=LocalRows)


@dataclass(frozen=True)
class Measure:
    """What to measure besides quality; 0 leaves a figure out."""

    latency_requests: Count = 20
    """Requests that are timed one at a time."""
    warmup_requests: Count = 2
    fixed_tokens: Positive | None = 32
    """Tokens of the answers that are timed again with one length for every method; None: they are not."""
    fixed_requests: Count = 5
    cached_requests: Count | None = None
    """Requests with what all prompts begin with read before; None: as many as latency_requests."""
    merged_items: Count = 20
    """Items that are answered once more with the adapter merged."""
    retention_items: Count | None = 100
    """Questions on what a trained model has forgotten."""
    free_answers: bool = True
    """Of a choice, also what the model says by itself."""
    prefix_cache: bool = True
    """Read what all prompts begin with once; never when latency is measured."""
    exact_memory: bool = True
    """False: a CPU keeps what tensors free, which is faster and marks the peak."""
    estimate: bool = False
    """Record what `harness estimate` predicts beside what was measured."""
    batch_size: Positive | None = None
    """Answers that are generated at once; None: what suits the device."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train."""

    name: str = "sft"
    documents: Literal["text", "questions", "both"] | None = None
    """text | questions | both: the task's documents as rows too."""
    epochs: Rate = 3
    max_steps: Annotated[int, msgspec.Meta(ge=-1)] = -1
    """A positive number stops there, whatever the epochs."""
    learning_rate: Rate | Annotated[list[Rate], msgspec.Meta(min_length=1)] = 1e-4
    """A list is tried on validation."""
    batch_size: Positive = 2
    gradient_accumulation_steps: Positive = 1
    gradient_checkpointing: bool | None = None
    """None: only after a GPU's memory has not sufficed."""
    max_length: Positive = 2048
    """Tokens of a row; a longer one is refused, not cut."""
    warmup: NotNegative = 0.1
    """Share of the steps with a rising rate, or their number."""
    max_grad_norm: NotNegative = 1.0
    weight_decay: NotNegative = 0.0
    validation_rows: Count | None = None
    """Rows whose loss chooses the epoch; None: all of max_validation_examples."""
    early_stopping_patience: Positive | None = 2
    """Epochs without a better validation loss; None: never."""
    optimizer: str | dict[str, object] = "adamw_torch"
    """A name that transformers knows, or a `_target_`."""
    bf16: bool | None = None
    """Compute in bfloat16 (autocast); None: on a GPU that has it, unless model.dtype names another type."""

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The rates to try on validation; one is used as it is."""
        rates = self.learning_rate
        return tuple(map(float, rates)) if isinstance(rates, list) else (float(rates),)


@dataclass(frozen=True)
class Adaptation:
    """What is done to a base model; each part may be absent: a quantised base, an adapter, training.

                quantization   peft   training
    none             -           -        -
    full             -           -       yes
    lora, prefix     -          yes      yes
    qlora           nf4         yes      yes
    """

    quantization: Mapping[str, Any] | None
    """Options of transformers' BitsAndBytesConfig."""
    peft: Mapping[str, Any] | None
    """A `_target_` of a PEFT config."""
    initialise: Mapping[str, Any] | None
    """A `_target_` called with (model, tokenizer) once the adapter is attached."""
    training: TrainingSettings | None

    def autocast(self, model: ModelSettings) -> bool:
        """Whether float32 weights compute in bfloat16."""
        return bool(self.training and self.training.bf16) and model.dtype == "float32"

    @property
    def name(self) -> str:
        """none | full | lora | qlora | prefix | ..., from the three parts."""
        if self.peft is None:
            bare = "full" if self.training else "none"
            return f"{bare}_4bit" if self.quantization else bare
        kind = str(self.peft["_target_"]).rsplit(".", 1)[-1].removesuffix("Config").lower()
        kind = kind.removesuffix("tuning")
        if self.quantization:
            return "qlora" if kind == "lora" else f"{kind}_4bit"
        return kind

    @property
    def rank(self) -> int | None:
        """The adapter's rank, where it has one."""
        rank = (self.peft or {}).get("r")
        return int(rank) if rank is not None else None
