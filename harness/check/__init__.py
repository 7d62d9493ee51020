"""Is a candidate no worse than a baseline? Item by item on every task that both have, then one verdict.

>>> check("results/reference,method=full", "results/reference,method=lora,rank=16").verdict
'inconclusive'

It reads records and their predictions and nothing else: no model, no torch. `gate.py` has the rule, and why it is that
one. What is missing counts against passing: where more than `max_missing` of the items asked lack a score in some run,
or a run of the candidate failed, ran out of memory, diverged or was killed, the task is inconclusive or worse, never no
worse; so a method that fails on what is difficult does not pass on the rest. A failed run of the baseline is listed and
bars nothing: its better runs remain to be compared with.
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
NOTHING = "no item that both have scored, so nothing is known of it"


def check(
    baseline: str,
    candidate: str,
    margins: Margins = Margins(),  # noqa: B008
    max_missing: float = MAX_MISSING,
) -> Outcome:
    """Compare what two selectors choose; UserError where one names several methods of a task, or no task is shared."""
    return compare((baseline, select(baseline)), (candidate, select(candidate)), margins, max_missing)


def compare(
    baseline: tuple[str, Runs], candidate: tuple[str, Runs], margins: Margins, max_missing: float = MAX_MISSING
) -> Outcome:
    """The same for runs that are already read, each side with its name."""
    if not 0 <= max_missing < 1:
        raise UserError(f"--max-missing {max_missing:g}: a share between 0 and 1; 0.01 is one item in a hundred.")
    sides = {"--baseline": baseline[1], "--candidate": candidate[1]}
    shared = sorted(set.intersection(*(set(side) for side in sides.values())))
    if not shared:
        has = "; ".join(f"{side} has {', '.join(plain(task) for task in sorted(of))}" for side, of in sides.items())
        raise UserError(f"No task in common: {has}.")
    methods = [[only_method(side, task, of[task]) for side, of in sides.items()] for task in shared]
    _refuse_the_same(methods)
    tasks = [_look(task, sides[0], sides[1], margins, max_missing) for task, sides in zip(shared, methods, strict=True)]
    evidence = [task.evidence for task in tasks if task.evidence]
    judgement = judge(evidence) if evidence else None
    tasks = list(_judged(tasks, judgement))
    compared = {task.task: (task.baseline, task.candidate) for task in tasks if task.verdict != "not_comparable"}
    found = ratios(compared, margins.resources)
    seeds = {name: _fewest(sides[i] for sides in methods) for i, name in enumerate(("baseline", "candidate"))}
    verdict = _verdict(tasks, judgement, found)
    whole = Outcome(baseline[0], candidate[0], verdict, tuple(tasks), judgement, tuple(found), seeds)
    alone = {side: sorted(set(of) - set(shared)) for side, of in sides.items()}
    return replace(whole, reasons=tuple(reasons(whole, alone)))


def _refuse_the_same(methods: Sequence[Sequence[Method]]) -> None:
    for sides in methods:
        ours, theirs = ({run.folder.resolve() for run in method.runs} for method in sides)
        for folder in sorted(ours & theirs):
            raise UserError(f"--baseline and --candidate both select {folder}: choose different runs.")


def _look(task: str, baseline: Method, candidate: Method, margins: Margins, max_missing: float) -> TaskOutcome:
    """What one task shows by itself."""
    remarks = [f"a run of the {side} ended: {ended(r)}" for side, r in _ended(baseline, candidate)]
    metric = next((measures.metric(r) for r in (*baseline.records, *candidate.records)), None)
    bare = TaskOutcome(task, metric, baseline, candidate, "inconclusive", remarks=tuple(remarks))
    if not baseline.finished or not candidate.finished:
        return replace(bare, remarks=(*remarks, NOTHING))
    if found := obstacles(baseline, candidate):
        return replace(bare, verdict="not_comparable", remarks=(*found, *remarks))
    paired = pair(baseline, candidate)
    excess = paired.share_missing > max_missing
    without = [str(run.folder) for method in (baseline, candidate) for run in method.without_predictions]
    remarks += [f"no predictions beside the record in {plain(folder, 300)}" for folder in without]
    if excess and paired.asked:
        allowed = f"more than the {max_missing * 100:.3g} % that may"
        remarks.append(f"{paired.missing:,} of {paired.asked:,} items have no score in some run, {allowed}")
    if not paired.n or metric is None:
        return replace(bare, paired=paired, remarks=(*remarks, NOTHING))
    margin = margins.of(metric)
    evidence = weigh(paired, metric, margin, barred=excess or bool(candidate.ended))
    return replace(bare, margin=margin, paired=paired, evidence=evidence, remarks=tuple(remarks))


def _ended(baseline: Method, candidate: Method) -> Iterator[tuple[str, Record]]:
    for side, method in (("candidate", candidate), ("baseline", baseline)):
        yield from ((side, record) for record in method.ended)


def _judged(tasks: Sequence[TaskOutcome], judgement: Judgement | None) -> Iterator[TaskOutcome]:
    """The tasks with what the gate says of each."""
    place = 0
    for task in tasks:
        if task.evidence and judgement:
            yield replace(
                task,
                verdict=judgement.verdicts[place],
                corrected=judgement.corrected[place],
                fallen=judgement.fallen[place],
                surely_worse=judgement.surely_worse[place],
            )
            place += 1
        else:
            yield task


def _verdict(tasks: Sequence[TaskOutcome], judgement: Judgement | None, resources: Sequence[Ratio]) -> str:
    if any(task.verdict == "not_comparable" for task in tasks):
        return "not_comparable"
    said = judgement.verdict if judgement else "inconclusive"
    if any(ratio.decides and ratio.verdict == "worse" for ratio in resources):
        return "worse"
    unknown = any(task.evidence is None for task in tasks)
    return "inconclusive" if unknown and said in PASSES else said


def _fewest(methods: Iterator[Method]) -> int | None:
    return min((seeds for method in methods if (seeds := method.seeds) is not None), default=None)
