"""A Record is the data of one run: schema 1, one `record.json` per run.

    record = read_record(Path("results/.../record.json"))
    record.quality.value, record.training.seconds, record.inference.latency_ms.p50

A part that does not apply (training of an untrained method) is None. This module imports no torch, so reading results
is fast on a laptop. docs/records.md explains what is measured and how.
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
    """A record of a schema that this version does not know."""


@dataclass(frozen=True)
class Score:
    """A metric's mean over items, with its 95 % interval over items or clusters."""

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
    """Items that do not fit the model: counted separately, never as wrong."""
    metrics: dict[str, float | None] = field(default_factory=dict)
    """The mean of each metric by name, including the primary one."""
    slices: dict[str, Slice] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Estimated:
    """The predicted peak memory of training."""

    train_peak_bytes: Number
    parts: dict[str, Number]
    """Bytes at the peak by part (weights, gradients, ...)."""
    tokens: Number
    """Length of the longest row, which the prediction assumes."""


@final
@dataclass(frozen=True)
class Training:
    """Cost and outcome of training. `seconds` are optimisation steps only."""

    seconds: float | None = None
    validation_seconds: float | None = None
    save_seconds: float | None = None
    tuning_seconds: float | None = None
    """The learning-rate search, without the trial that was kept."""
    step_ms: Summary | None = None
    first_step_ms: float | None = None
    """The first step, which on a GPU also loads kernels and makes the optimizer's state."""
    steps: Number | None = None
    epochs: float | None = None
    examples: Number | None = None
    """Training rows, including those built from documents."""
    demonstrations_left_out: Number | None = None
    """Demonstrations that did not fit, over all rows."""
    tokens: Number | None = None
    """Tokens processed in all steps, without padding."""
    longest_row: Number | None = None
    """Tokens of the longest row."""
    longest_answer: Number | None = None
    """Most tokens in a row that the loss covers."""
    tokens_per_second: float | None = None
    flops: float | None = None
    learning_rate: float | None = None
    gradient_checkpointing: bool | None = None
    final_train_loss: float | None = None
    best_validation_loss: float | None = None
    trainable_parameters: Number | None = None
    total_parameters: Number | None = None
    tried: dict[str, float] | None = None
    """Validation value by learning rate; None if there was only one rate."""
    peak_memory_bytes: Number | None = None
    contaminated: list[str] | None = None
    """What contaminated the training time."""
    weights: str | None = None
    """The folder of the weights below results/.weights/, if they are kept."""
    weights_bytes: Number | None = None
    shared: bool | None = None
    """Whether an earlier run trained these weights; its cost is copied here."""
    estimated: Estimated | None = None


@final
@dataclass(frozen=True)
class Requests:
    """Single requests, one at a time, in milliseconds."""

    latency_ms: Summary | None = None
    """From question to answer, including retrieval."""
    first_token_ms: Summary | None = None
    per_token_ms: Summary | None = None
    """For each token after the first; None for a choice."""
    tokens: Number | None = None
    """Length of every answer, if it was fixed."""


@final
@dataclass(frozen=True)
class PrefixCached:
    """Requests to a server that has cached the prefix that all prompts share."""

    tokens: Number
    """Length of the shared prefix."""
    latency_ms: Summary | None = None


@final
@dataclass(frozen=True)
class MergedScore(Score):
    """Quality with the adapter merged, on the first items."""

    same_answers: Number | None = None
    """Items with the same answer as from the unmerged adapter."""


@final
@dataclass(frozen=True)
class Merged:
    """Measurements with the adapter merged into the weights."""

    latency_ms: Summary | None = None
    fixed: Requests | None = None
    quality: MergedScore | None = None
    largest_logit_difference: float | None = None
    refused: str | None = None
    """Why PEFT could not merge the adapter, if so."""


@final
@dataclass(frozen=True)
class Inference:
    """Cost of answering."""

    latency_ms: Summary | None = None
    """Single requests from question to answer, including retrieval, without a prefix cache."""
    first_token_ms: Summary | None = None
    per_token_ms: Summary | None = None
    fixed: Requests | None = None
    """Requests with answers of `measure.fixed_tokens` tokens."""
    prefix_cached: PrefixCached | None = None
    merged: Merged | None = None
    items_per_second: float | None = None
    """Throughput of the batched evaluation."""
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    flops_per_item: float | None = None
    trimmed_items: Number | None = None
    """Items with fewer demonstrations because not all fitted."""
    peak_memory_bytes: Number | None = None


@final
@dataclass(frozen=True)
class Retrieval:
    """Quality and cost of retrieving passages."""

    k: Number | None = None
    recall: float | None = None
    mrr: float | None = None
    ndcg: float | None = None
    passages: Number | None = None
    """Passages in the index."""
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
    """Forgetting after training: general knowledge, and the other skills in `parts`."""

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
    """Hash of everything that can change the outcome: configuration and data, a dash, versions and kind of device."""
    status: str
    """ok | failed | oom | diverged | interrupted | crashed."""
    task: str
    probes: str
    """What the task tests: behaviour | knowledge | format | ..."""
    model: str
    method: str
    """Name of the pair of adaptation and context: lora, rag, rag_lora."""
    adaptation: str
    """none | full | lora | qlora | prefix | ..."""
    context: str
    """Content of the prompt at test time: zero_shot | instructed | few_shot | rag | oracle."""
    train_context: str | None
    """Content of the prompt in training; None if nothing was trained."""
    rank: int | None
    seed: int
    experiment: str
    error: Failure | None = None
    quality: Quality | None = None
    validation: Score | None = None
    """The same metric on the validation split; choices are made on this."""
    training: Training | None = None
    inference: Inference | None = None
    retrieval: Retrieval | None = None
    retention: Retention | None = None
    memory: Memory | None = None
    seconds: dict[str, float] | None = None
    """Seconds of each step: load, data, tuning, training, validation, save, inference, latency, ..."""
    contaminated: dict[str, list[str]] = field(default_factory=dict)
    """What contaminated a figure (memory, training, latency)."""
    environment: Environment = field(default_factory=Environment)
    config: dict[str, Any] = field(default_factory=dict)
    """The resolved configuration, with secrets redacted."""
    overrides: list[str] = field(default_factory=list)
    """Arguments of `harness run` that repeat this run; secrets redacted."""
    predicted: list[str] = field(default_factory=list)
    """Order of methods predicted in the task's data card: chains such as "lora > few_shot >= zero_shot"."""
    schema: int = SCHEMA

    @property
    def label(self) -> str:
        """The method's name in reports."""
        return label(self.method, self.rank)

    def to_json(self) -> str:
        """JSON indented by two spaces, the schema first; NaN becomes null."""
        values = {"schema": self.schema, **asdict(self)}
        return msgspec.json.format(msgspec.json.encode(values), indent=2).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Parse a record; NewerSchema for another schema, msgspec.ValidationError for a field of the wrong type."""
        try:
            schema = _SCHEMA.decode(text).schema
            if schema != SCHEMA:
                raise NewerSchema(schema)
            return _RECORD.decode(text)
        except msgspec.DecodeError as cause:
            if isinstance(cause, msgspec.ValidationError):
                raise
            raw = json.loads(text, parse_constant=lambda _: None)  # diverged runs of earlier versions wrote NaN
            return msgspec.convert(raw, cls)


def label(method: str, rank: int | None) -> str:
    """`lora r8` if the method has a rank, otherwise its name."""
    return method if rank is None else f"{method} r{rank}"


class _Schema(msgspec.Struct):
    schema: int = SCHEMA


_SCHEMA, _RECORD = msgspec.json.Decoder(_Schema), msgspec.json.Decoder(Record)
