"""A Cohort is the records that may stand in one table: same task, model, data, test items and kind of device.

A run that failed early does not know its data or its items. It joins the cohort it was meant for: that of its
own experiment where there is one, else the one with the most items; so it is seen, and seen once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import UserError
from harness.records import Record, StoredRecord
from harness.report import measures
from harness.report.measures import Estimate

BASELINES_FILE = "baselines.json"

# Settings in which two runs of one method may differ; the difference becomes part of the row's name.
VARIED = ("context.", "adaptation.", "training.", "max_train_examples")
# What those settings hold anyway or what the label says already.
NAMED = (".r", "._target_", "lora_alpha", "seed")


class Key(NamedTuple):
    task: str
    model: str
    data: str | None
    items: int | None
    device: str | None


@dataclass(frozen=True)
class Row:
    """One run under the name that tells it from the others of its table."""

    name: str
    # lora r8, or "few_shot (context.k=4)" where the table has several of that label
    variant: Mapping[str, str]
    # those settings, as they would be typed on the command line
    stored: StoredRecord

    @property
    def record(self) -> Record:
        return self.stored.record


@dataclass(frozen=True)
class Baseline:
    """What is reached without a language model, on the same items."""

    name: str
    task: str
    data: str | None
    n: int | None
    metric: str | None
    estimate: Estimate


@dataclass(frozen=True)
class Cohort:
    key: Key
    rows: tuple[Row, ...]
    # by test quality, best first; runs without a quality last
    baselines: tuple[Baseline, ...]
    other_baselines: tuple[Baseline, ...]
    # of the same data but another number of items: mentioned, never in the table

    @property
    def records(self) -> list[Record]:
        return [row.record for row in self.rows]

    @property
    def metric(self) -> str:
        names = Counter(str(name) for r in self.records if (name := measures.metric(r)))
        return names.most_common(1)[0][0] if names else "quality"


def gather(stored: list[StoredRecord], baselines: list[Baseline]) -> list[Cohort]:
    """Every record in exactly one cohort; cohorts by task, model, then the most items first."""
    groups: dict[Key, list[StoredRecord]] = {}
    placed = [s for s in stored if measures.items(s.record) is not None]
    for s in placed:
        groups.setdefault(key_of(s.record), []).append(s)
    measured = dict(groups)
    for s in stored:
        if measures.items(s.record) is None:
            groups.setdefault(_home(s.record, measured), []).append(s)
    ordered = sorted(groups, key=lambda k: (k.task, k.model, -(k.items or 0), k.data or "", k.device or ""))
    return [_cohort(key, groups[key], baselines) for key in ordered]


def key_of(record: Record) -> Key:
    data, device = measures.data_hash(record), measures.device_kind(record)
    return Key(record.task, record.model, data, measures.items(record), device)


def _home(record: Record, groups: Mapping[Key, list[StoredRecord]]) -> Key:
    """The cohort of a run that counted no items: what it knows must agree, the rest may be anything."""
    own = key_of(record)

    def fits(key: Key) -> bool:
        pairs = zip(own, key, strict=True)
        return all(mine is None or mine == theirs for mine, theirs in pairs)

    def preference(key: Key) -> tuple[bool, int, int]:
        same = any(s.record.experiment == record.experiment for s in groups[key])
        return same, key.items or 0, len(groups[key])

    return max(filter(fits, groups), key=preference, default=own)


def _cohort(key: Key, stored: list[StoredRecord], baselines: list[Baseline]) -> Cohort:
    same = [b for b in baselines if b.task == key.task and b.data == key.data]
    here = [b for b in same if b.n is None or b.n == key.items]
    return Cohort(
        key,
        tuple(sorted(_name(stored), key=_order)),
        tuple(sorted(here, key=lambda b: -b.estimate.value)),
        tuple(b for b in same if b not in here),
    )


def _order(row: Row) -> tuple[bool, bool, float, str, int]:
    quality = measures.quality(row.record)
    value = quality.value if quality else 0.0
    return row.record.status != "ok", quality is None, -value, row.name, row.record.seed


def _name(stored: list[StoredRecord]) -> Iterator[Row]:
    """Label, then the settings in which runs of one label differ, then the run's id where all are equal."""
    settings = [dict(flatten(s.record.config)) for s in stored]
    for s, own in zip(stored, settings, strict=True):
        same_label = (c for t, c in zip(stored, settings, strict=True) if t.record.label == s.record.label)
        # A run that crashed early may have no configuration; that is no difference in settings.
        peers = [config for config in same_label if config]
        names = sorted({name for c in peers for name in c if _varied(name)})
        variant = {n: own[n] for n in names if n in own and any(c.get(n) != own[n] for c in peers)}
        twins = [
            other
            for other, c in zip(stored, settings, strict=True)
            if (other.record.label, other.record.seed) == (s.record.label, s.record.seed)
            and all(c.get(n) == value for n, value in variant.items())
        ]
        said = [f"{n}={value}" for n, value in variant.items()]
        said += [f"run {s.record.run_id[:12]}"] if len(twins) > 1 else []
        yield Row(s.record.label + (f" ({', '.join(said)})" if said else ""), variant, s)


def _varied(name: str) -> bool:
    return name.startswith(VARIED) and not name.endswith(NAMED)


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`{"context": {"k": 4}}` as ("context.k", "4"), the way an override is typed."""
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{path}.")
        else:
            yield path, json.dumps(value) if isinstance(value, list | bool) or value is None else str(value)


def load_baselines(folder: Path) -> list[Baseline]:
    """Every baseline in the `baselines.json` files below a folder."""
    found: dict[Baseline, None] = {}
    for path in sorted(folder.rglob(BASELINES_FILE)):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # hidden folders hold trained weights and are not results
        found.update(dict.fromkeys(read_baselines(path)))
    return list(found)


def read_baselines(path: Path) -> Iterable[Baseline]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        task, named = raw["task"], raw["baselines"].items()
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as cause:
        raise UserError(f"{path}: not a file of baselines ({cause!r}). Remove it or make it again.") from cause
    n = measures.number(raw, "n")
    for name, part in named:
        estimate = Estimate.read(part)
        if estimate:
            yield Baseline(
                name, task, raw.get("data_sha256"), None if n is None else int(n), raw.get("metric"), estimate
            )
