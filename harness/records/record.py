"""A Record is what happened in one run, as data: schema 1, one `record.json` a run.

    record = read_record(Path("results/.../record.json"))
    record.quality.value, record.training.seconds, record.inference.latency_ms.p50

A part that does not apply (training of an untrained method) is None. Nothing here imports torch, so a laptop reads
results in a moment. What is measured, and how, is in docs/records.md.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, final

import msgspec

from harness.measurement.readings import Environment, Memory
from harness.stats import Number, Summary

SCHEMA = 1
STATUSES = ("ok", "failed", "oom", "diverged", "interrupted", "crashed")


class NewerSchema(Exception):
    """A record of a schema that this version does not know; its fields are not guessed at."""


@dataclass(frozen=True)
class Score:
    """A metric's mean over items, with its 95 % interval by items or clusters."""

    metric: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: Number | None = None
    """Items that have a score."""


@final
@dataclass(frozen=True)
class Slice:
    """The primary metric on the items of one slice."""

    value: float | None
    n: Number | None = None


@final
@dataclass(frozen=True)
class Quality(Score):
    """The primary metric on the test split, and the others."""

    unscored: Number = 0
    """Items that do not fit the model: counted apart, never as wrong."""
    metrics: dict[str, float | None] = field(default_factory=dict)
    """By name, the mean of each metric, the primary one among them."""
    slices: dict[str, Slice] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Estimated:
    """What was predicted of the training peak."""

    train_peak_bytes: Number
    parts: dict[str, Number]
    """By part (weights, gradients, ...), bytes at the peak."""
    tokens: Number
    """Of the longest row, which it was predicted for."""


@final
@dataclass(frozen=True)
class Training:
    """What training took. `seconds` are optimisation steps only."""

    seconds: float | None = None
    validation_seconds: float | None = None
    save_seconds: float | None = None
    tuning_seconds: float | None = None
    """The search for a learning rate, the trial that was kept left out."""
    step_ms: Summary | None = None
    steps: Number | None = None
    epochs: float | None = None
    examples: Number | None = None
    """Rows, those made of documents among them."""
    demonstrations_left_out: Number | None = None
    """Demonstrations that had no room, over all rows."""
    tokens: Number | None = None
    """Read in all steps, without padding."""
    longest_row: Number | None = None
    """Tokens of the longest row."""
    longest_answer: Number | None = None
    """The most tokens of a row that are learned."""
    tokens_per_second: float | None = None
    flops: float | None = None
    learning_rate: float | None = None
    gradient_checkpointing: bool | None = None
    final_train_loss: float | None = None
    best_validation_loss: float | None = None
    trainable_parameters: Number | None = None
    total_parameters: Number | None = None
    tried: dict[str, float] | None = None
    """By learning rate, the validation value that it reached; None of a single rate."""
    peak_memory_bytes: Number | None = None
    contaminated: list[str] | None = None
    """What disturbed the training's time."""
    weights: str | None = None
    """Their folder below results/.weights/, if they are kept."""
    weights_bytes: Number | None = None
    shared: bool | None = None
    """Whether an earlier run trained these weights, whose cost is copied."""
    estimated: Estimated | None = None


@final
@dataclass(frozen=True)
class Requests:
    """Single requests, one at a time, in milliseconds."""

    latency_ms: Summary | None = None
    """From question to answer, retrieval included."""
    first_token_ms: Summary | None = None
    per_token_ms: Summary | None = None
    """Of each further token; None of a choice."""
    tokens: Number | None = None
    """Of every answer, if its length was fixed."""


@final
@dataclass(frozen=True)
class PrefixCached:
    """Requests to a server that has read what all prompts begin with."""

    tokens: Number
    """What all prompts begin with."""
    latency_ms: Summary | None = None


@final
@dataclass(frozen=True)
class MergedScore(Score):
    """Quality with the adapter merged, on the first items."""

    same_answers: Number | None = None
    """Items that it answers as the unmerged adapter does."""


@final
@dataclass(frozen=True)
class Merged:
    """With the adapter folded into the weights."""

    latency_ms: Summary | None = None
    fixed: Requests | None = None
    quality: MergedScore | None = None
    largest_logit_difference: float | None = None
    refused: str | None = None
    """Why PEFT does not fold it, if it does not."""


@final
@dataclass(frozen=True)
class Inference:
    """What answering takes."""

    latency_ms: Summary | None = None
    """Single requests from question to answer, retrieval included, without a prefix cache."""
    first_token_ms: Summary | None = None
    per_token_ms: Summary | None = None
    fixed: Requests | None = None
    """The same with answers of `measure.fixed_tokens`."""
    prefix_cached: PrefixCached | None = None
    merged: Merged | None = None
    items_per_second: float | None = None
    """Of the batched evaluation."""
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    flops_per_item: float | None = None
    trimmed_items: Number | None = None
    """Items whose demonstrations had not all room."""
    peak_memory_bytes: Number | None = None


@final
@dataclass(frozen=True)
class Retrieval:
    """How well passages were found, and what finding them took."""

    k: Number | None = None
    recall: float | None = None
    mrr: float | None = None
    ndcg: float | None = None
    passages: Number | None = None
    """In the index."""
    index_seconds: float | None = None
    index_cached: bool | None = None
    """Whether an earlier run built the index."""
    latency_ms: Summary | None = None


@dataclass(frozen=True)
class Change:
    """One skill before and after training, item by item."""

    before: float | None = None
    after: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    n: Number | None = None


@final
@dataclass(frozen=True)
class Retention(Change):
    """What a trained model has forgotten: general knowledge, and the other skills in `parts`."""

    metric: str | None = None
    parts: dict[str, Change] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Failure:
    """Why a run is not ok."""

    type: str | None = None
    message: str | None = None
    traceback: str | None = None


@final
@dataclass(frozen=True)
class Record:
    """One run."""

    run_id: str
    """Hash of what can change the outcome: configuration and data, a dash, then versions and the device's kind."""
    status: str
    """ok | failed | oom | diverged | interrupted | crashed."""
    task: str
    probes: str
    """The axis that the task tests: behaviour | knowledge | format | ..."""
    model: str
    method: str
    """The name of the pair of adaptation and context: lora, rag, rag_lora."""
    adaptation: str
    """none | full | lora | qlora | prefix | ..."""
    context: str
    """What is in the prompt when answering: zero_shot | instructed | few_shot | rag | oracle."""
    train_context: str | None
    """What was in the prompt when training; None when nothing was trained."""
    rank: int | None
    seed: int
    experiment: str
    error: Failure | None = None
    quality: Quality | None = None
    validation: Score | None = None
    """The same scorer on the validation split; what choices are made on."""
    training: Training | None = None
    inference: Inference | None = None
    retrieval: Retrieval | None = None
    retention: Retention | None = None
    memory: Memory | None = None
    seconds: dict[str, float] | None = None
    """What the run's time was spent on: load, data, tuning, training, validation, save, inference, latency, ..."""
    contaminated: dict[str, list[str]] = field(default_factory=dict)
    """By figure (memory, training, latency), what disturbed it."""
    environment: Environment = field(default_factory=Environment)
    config: dict[str, Any] = field(default_factory=dict)
    """The resolved configuration, secrets redacted."""
    overrides: list[str] = field(default_factory=list)
    """What makes this cell again after `harness run`; secrets redacted."""
    predicted: list[str] = field(default_factory=list)
    """Of the order of methods, by the task's data card: chains such as "lora > few_shot >= zero_shot"."""
    schema: int = SCHEMA

    @property
    def label(self) -> str:
        """The method as a reader names it."""
        return label(self.method, self.rank)

    def to_json(self) -> str:
        """Two spaces a level, the schema first; NaN becomes null."""
        values = {"schema": self.schema, **asdict(self)}
        return msgspec.json.format(msgspec.json.encode(values), indent=2).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """NewerSchema if it is of another schema; msgspec.ValidationError if a field is of another type."""
        try:
            schema = _SCHEMA.decode(text).schema
            if schema != SCHEMA:
                raise NewerSchema(schema)
            return _RECORD.decode(text)
        except msgspec.DecodeError as cause:
            if isinstance(cause, msgspec.ValidationError):
                raise
            raw = json.loads(text, parse_constant=lambda _: None)  # NaN is what a diverged run wrote, not a value
            return msgspec.convert(raw, cls)


def label(method: str, rank: int | None) -> str:
    """`lora r8` if the method has a rank, else its name."""
    return method if rank is None else f"{method} r{rank}"


class _Schema(msgspec.Struct):
    schema: int = SCHEMA


_SCHEMA, _RECORD = msgspec.json.Decoder(_Schema), msgspec.json.Decoder(Record)
