"""The result of a check, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.check.gate import Evidence, Judgement
from harness.check.paired import Paired
from harness.check.resources import Ratio
from harness.records.methods import Method
from harness.stats import FEWEST_SEEDS

EXIT_CODES = {"better": 0, "no_worse": 0, "worse": 1, "inconclusive": 3, "not_comparable": 4}


@dataclass(frozen=True)
class TaskOutcome:
    """The result on one task."""

    task: str
    metric: str | None
    baseline: Method
    candidate: Method
    verdict: str
    margin: float | None = None
    paired: Paired | None = None
    evidence: Evidence | None = None
    """None if nothing could be compared."""
    corrected: float | None = None
    """p, corrected for the number of tasks (Holm)."""
    fallen: bool = False
    """Whether the task dropped significantly by more than a single task may."""
    surely_worse: bool = False
    """Whether a fallen task is below its margin even after correction for the number of tasks."""
    remarks: tuple[str, ...] = ()
    """Why the task may not pass or cannot be compared."""


@dataclass(frozen=True)
class Outcome:
    """The verdict, and everything behind it."""

    baseline: str
    candidate: str
    verdict: str
    tasks: tuple[TaskOutcome, ...]
    judgement: Judgement | None
    """None if no task could be compared."""
    resources: tuple[Ratio, ...]
    seeds: Mapping[str, int | None]
    """Each side's fewest training seeds on any task; None if its methods are not trained."""
    reasons: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    @property
    def about(self) -> str:
        """Whether the verdict is about the method or, with too few training seeds, only about this checkpoint."""
        few = any(seeds is not None and seeds < FEWEST_SEEDS for seeds in self.seeds.values())
        return "checkpoint" if few else "method"
