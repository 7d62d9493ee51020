"""What a check finds, as data."""

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
    """What is found on one task."""

    task: str
    metric: str | None
    baseline: Method
    candidate: Method
    verdict: str
    margin: float | None = None
    paired: Paired | None = None
    evidence: Evidence | None = None
    """None where nothing could be compared."""
    corrected: float | None = None
    """p, corrected for the number of tasks (Holm)."""
    fallen: bool = False
    """By more than a single task may, significantly."""
    surely_worse: bool = False
    """Fallen, and below the margin whichever of the tasks one looks at."""
    remarks: tuple[str, ...] = ()
    """What bars it from passing or forbids the comparison."""


@dataclass(frozen=True)
class Outcome:
    """The verdict, and everything it rests on."""

    baseline: str
    candidate: str
    verdict: str
    tasks: tuple[TaskOutcome, ...]
    judgement: Judgement | None
    """None where no task could be compared."""
    resources: tuple[Ratio, ...]
    seeds: Mapping[str, int | None]
    """Training seeds of each side on the task where it has the fewest; None of methods that are not trained."""
    reasons: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    @property
    def about(self) -> str:
        """What the verdict is on: the method, or this checkpoint of it where training seeds are too few."""
        few = any(seeds is not None and seeds < FEWEST_SEEDS for seeds in self.seeds.values())
        return "checkpoint" if few else "method"
