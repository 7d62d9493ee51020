"""Is a candidate no worse than a baseline? Compares them item by item on every shared task and gives one verdict.

>>> check("results/reference,method=full", "results/reference,method=lora,rank=16").verdict
'inconclusive'

It reads only records and their predictions: no model, no torch. `gate.py` has the decision rule and its reasons.
Missing data counts against passing: if more than `max_missing` of the items lack a score in some run, or a run of the
candidate failed, ran out of memory, diverged or was killed, the task is inconclusive or worse, never no worse. So a
method that fails on difficult items cannot pass on the easy ones. A failed run of the baseline is listed but does not
prevent passing: the comparison uses its finished runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.check.comparable import obstacles
from harness.check.gate import PASSES, Judgement, judge
from harness.check.margins import Margins
from harness.check.outcome import Outcome, TaskOutcome
from harness.check.paired import pair, weigh
from harness.check.reasons import ended, reasons
from harness.check.resources import Ratio, ratios
from harness.check.selection import Runs, only_method, select
from harness.errors import UserError
from harness.records import measures
from harness.records.methods import Method
from harness.records.record import Record
from harness.text import plain

__all__ = ["check", "compare"]

MAX_MISSING = 0.01
NOTHING = "no items with scores on both sides, so nothing to compare"


def check(
    baseline: str,
    candidate: str,
    margins: Margins = Margins(),  # noqa: B008
    max_missing: float = MAX_MISSING,
) -> Outcome:
    """Compare the runs of two selectors; UserError if one matches several methods of a task, or no task is shared."""
    return compare((baseline, select(baseline)), (candidate, select(candidate)), margins, max_missing)


def compare(
    baseline: tuple[str, Runs], candidate: tuple[str, Runs], margins: Margins, max_missing: float = MAX_MISSING
) -> Outcome:
    """Compare runs that are already loaded. baseline, candidate: (selector for display, runs by task)."""
    if not 0 <= max_missing < 1:
        raise UserError(f"--max-missing {max_missing:g}: expected a share between 0 and 1 (0.01 is one item in 100).")
    sides = {"--baseline": baseline[1], "--candidate": candidate[1]}
    shared = sorted(set.intersection(*(set(side) for side in sides.values())))
    if not shared:
        lists = "; ".join(f"{side} has {', '.join(map(plain, sorted(runs)))}" for side, runs in sides.items())
        raise UserError(f"No task in common: {lists}.")
    methods = [[only_method(side, task, runs[task]) for side, runs in sides.items()] for task in shared]
    _refuse_shared_runs(methods)
    both = zip(shared, methods, strict=True)
    tasks = [_task_outcome(task, old, new, margins, max_missing) for task, (old, new) in both]
    evidence = [task.evidence for task in tasks if task.evidence]
    judgement = judge(evidence) if evidence else None
    tasks = list(_judged(tasks, judgement))
    compared = {task.task: (task.baseline, task.candidate) for task in tasks if task.verdict != "not_comparable"}
    resources = ratios(compared, margins.resources)
    seeds = {name: _fewest(sides[i] for sides in methods) for i, name in enumerate(("baseline", "candidate"))}
    verdict = _verdict(tasks, judgement, resources)
    outcome = Outcome(baseline[0], candidate[0], verdict, tuple(tasks), judgement, tuple(resources), seeds)
    unshared = {side: sorted(set(runs) - set(shared)) for side, runs in sides.items()}
    return replace(outcome, reasons=tuple(reasons(outcome, unshared)))


def _refuse_shared_runs(methods: Sequence[Sequence[Method]]) -> None:
    for sides in methods:
        baseline, candidate = ({run.folder.resolve() for run in method.runs} for method in sides)
        for folder in sorted(baseline & candidate):
            raise UserError(f"--baseline and --candidate both select {folder}: choose different runs.")


def _task_outcome(task: str, baseline: Method, candidate: Method, margins: Margins, max_missing: float) -> TaskOutcome:
    """The outcome of one task on its own, before the gate judges all tasks together."""
    remarks = [f"a {side} run did not finish: {ended(r)}" for side, r in _unfinished(baseline, candidate)]
    metric = next((measures.metric(r) for r in (*baseline.records, *candidate.records)), None)
    bare = TaskOutcome(task, metric, baseline, candidate, "inconclusive", remarks=tuple(remarks))
    if not baseline.finished or not candidate.finished:
        return replace(bare, remarks=(*remarks, NOTHING))
    if differences := obstacles(baseline, candidate):
        return replace(bare, verdict="not_comparable", remarks=(*differences, *remarks))
    paired = pair(baseline, candidate)
    excess = paired.share_missing > max_missing
    folders = [str(run.folder) for method in (baseline, candidate) for run in method.without_predictions]
    remarks += [f"predictions are missing in {plain(folder, 300)}" for folder in folders]
    if excess and paired.asked:
        allowed = f"more than the {max_missing * 100:.3g} % allowed"
        remarks.append(f"{paired.missing:,} of {paired.asked:,} items have no score in some run, {allowed}")
    if not paired.n or metric is None:
        return replace(bare, paired=paired, remarks=(*remarks, NOTHING))
    margin = margins.of(metric)
    evidence = weigh(paired, metric, margin, barred=excess or bool(candidate.ended))
    return replace(bare, margin=margin, paired=paired, evidence=evidence, remarks=tuple(remarks))


def _unfinished(baseline: Method, candidate: Method) -> Iterator[tuple[str, Record]]:
    for side, method in (("candidate", candidate), ("baseline", baseline)):
        yield from ((side, record) for record in method.ended)


def _judged(tasks: Sequence[TaskOutcome], judgement: Judgement | None) -> Iterator[TaskOutcome]:
    """The tasks with the gate's verdict on each; tasks without evidence are unchanged."""
    i = 0
    for task in tasks:
        if task.evidence and judgement:
            yield replace(
                task,
                verdict=judgement.verdicts[i],
                corrected=judgement.corrected[i],
                fallen=judgement.fallen[i],
                surely_worse=judgement.surely_worse[i],
            )
            i += 1
        else:
            yield task


def _verdict(tasks: Sequence[TaskOutcome], judgement: Judgement | None, resources: Sequence[Ratio]) -> str:
    if any(task.verdict == "not_comparable" for task in tasks):
        return "not_comparable"
    verdict = judgement.verdict if judgement else "inconclusive"
    if any(ratio.decides and ratio.verdict == "worse" for ratio in resources):
        return "worse"
    unknown = any(task.evidence is None for task in tasks)
    return "inconclusive" if unknown and verdict in PASSES else verdict


def _fewest(methods: Iterator[Method]) -> int | None:
    return min((seeds for method in methods if (seeds := method.seeds) is not None), default=None)
