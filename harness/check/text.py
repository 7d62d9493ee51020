"""A check as text for a terminal, Markdown for a pull request, JSON, and JUnit XML for a CI server."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

from harness.check.gate import Evidence, items_needed, seeds_needed
from harness.check.outcome import Outcome, TaskOutcome
from harness.check.reasons import decides
from harness.check.resources import Ratio
from harness.text import MISSING, Table, code, markdown, plain

HEADINGS = ("task", "metric", "n", "baseline", "candidate", "points", "95 % interval", "verdict")
RESOURCE_HEADINGS = ("what", "ratio", "95 % interval", "over", "verdict", "counts")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OUTCOMES = {"worse": "failure", "inconclusive": "skipped", "not_comparable": "error"}
_ALL = "all tasks"
Escape = Callable[[object], str]


def as_text(outcome: Outcome) -> str:
    parts = [
        _methods(outcome),
        _quality(outcome, plain).text(),
        _resources(outcome, plain).text(),
        "\n".join(outcome.reasons),
    ]
    text = "\n\n".join([*(part for part in parts if part), f"verdict: {_headline(outcome)}"])
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be printed


def as_markdown(outcome: Outcome) -> str:
    """For a comment on a pull request."""
    selectors = f"candidate {code(outcome.candidate)}, baseline {code(outcome.baseline)}"
    sides = f"{markdown(_methods(outcome))} ({selectors})"
    reasons = "\n".join(f"- {markdown(reason, 600)}" for reason in outcome.reasons)
    tables = [_quality(outcome, markdown).markdown(), _resources(outcome, markdown).markdown()]
    return "\n\n".join(part for part in (f"### {_headline(outcome)}", sides, *tables, reasons) if part) + "\n"


def _headline(outcome: Outcome) -> str:
    return f"{outcome.verdict} (this checkpoint, not this method)" if outcome.about == "checkpoint" else outcome.verdict


def _methods(outcome: Outcome) -> str:
    """`lora r16 against full`"""
    sides = ([task.candidate.name for task in outcome.tasks], [task.baseline.name for task in outcome.tasks])
    return " against ".join(plain(", ".join(dict.fromkeys(names))) for names in sides)


def _quality(outcome: Outcome, escape: Escape) -> Table:
    rows = [_task_cells(task, escape) for task in outcome.tasks]
    if outcome.judgement and len(outcome.tasks) > 1:
        pooled = outcome.judgement.pooled
        rows.append((_ALL, "", f"{pooled.difference.n:,}", "", "", *_difference(pooled), pooled.verdict()))
    return Table(HEADINGS, tuple(rows))


def _task_cells(task: TaskOutcome, escape: Escape) -> tuple[str, ...]:
    name, metric = escape(task.task), escape(task.metric or MISSING)
    if task.evidence is None or task.paired is None:
        return name, metric, "0", MISSING, MISSING, MISSING, MISSING, task.verdict
    means = (f"{scores.mean():.3f}" for scores in (task.paired.baseline, task.paired.candidate))
    return name, metric, f"{task.paired.n:,}", *means, *_difference(task.evidence), task.verdict


def _difference(evidence: Evidence) -> tuple[str, str]:
    difference = evidence.difference
    return f"{difference.value * 100:+.1f}", f"{difference.low * 100:+.1f} to {difference.high * 100:+.1f}"


def _resources(outcome: Outcome, escape: Escape) -> Table:
    return Table(RESOURCE_HEADINGS, tuple(_ratio_cells(ratio, escape) for ratio in outcome.resources))


def _ratio_cells(ratio: Ratio, escape: Escape) -> tuple[str, ...]:
    value = MISSING if ratio.value is None else f"{ratio.value:.2f}"
    spread = MISSING if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
    counts = "yes" if ratio.decides else f"not decided: {escape('; '.join(ratio.undecided))}"
    return ratio.figure.title, value, spread, ratio.interval or MISSING, ratio.verdict, counts


def as_json(outcome: Outcome) -> str:
    return json.dumps(_as_data(outcome), indent=2, allow_nan=False)


def _as_data(outcome: Outcome) -> dict[str, object]:
    return {
        "verdict": outcome.verdict,
        "about": outcome.about,
        "baseline": outcome.baseline,
        "candidate": outcome.candidate,
        "seeds": dict(outcome.seeds),
        "tasks": [_task_data(task) for task in outcome.tasks],
        "pooled": _pooled_data(outcome),
        "resources": [_ratio_data(ratio) for ratio in outcome.resources],
        "reasons": list(outcome.reasons),
    }


def _task_data(task: TaskOutcome) -> dict[str, object]:
    return {
        "task": task.task,
        "metric": task.metric,
        "baseline_method": task.baseline.name,
        "candidate_method": task.candidate.name,
        **_evidence_data(task.evidence),
        "verdict": task.verdict,
        "p_corrected": _finite(task.corrected),
        "fallen": task.fallen,
        "asked": task.paired.asked if task.paired else None,
        "missing": task.paired.missing if task.paired else None,
        "seeds": {"baseline": task.baseline.seeds, "candidate": task.candidate.seeds},
        "remarks": list(task.remarks),
    }


def _pooled_data(outcome: Outcome) -> dict[str, object] | None:
    if outcome.judgement is None:
        return None
    pooled = outcome.judgement.pooled
    drift = {"p": _finite(outcome.judgement.drift), "found": outcome.judgement.drifted}
    count = len(outcome.judgement.verdicts)
    return {"tasks": count, **_evidence_data(pooled), "verdict": pooled.verdict(), "drift": drift}


def _evidence_data(evidence: Evidence | None) -> dict[str, object]:
    """The figures of a comparison; n is 0 and the rest null if nothing could be compared."""
    d = evidence.difference if evidence else None
    names = ("difference", "low", "high", "p", "smallest_difference")
    values = (d.value, d.low, d.high, d.p, d.smallest_difference) if d else (None,) * len(names)
    inconclusive = evidence if evidence and evidence.inconclusive else None
    return {
        "n": d.n if d else 0,
        "margin": evidence.margin if evidence else None,
        **{name: _finite(value) for name, value in zip(names, values, strict=True)},
        "test": d.test if d else None,
        "needed": items_needed(inconclusive) if inconclusive else None,
        "needed_seeds": seeds_needed(inconclusive) if inconclusive else None,
    }


def _ratio_data(ratio: Ratio) -> dict[str, object]:
    return {
        "figure": ratio.figure.name,
        "ratio": ratio.value,
        "low": _finite(ratio.low),
        "high": _finite(ratio.high),
        "interval_over": ratio.interval,
        "margin": ratio.margin,
        "verdict": ratio.verdict,
        "decides": ratio.decides,
        "undecided": list(ratio.undecided),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def as_junit(outcome: Outcome) -> str:
    """JUnit XML with a test case for each task, for the whole and for each resource.

    Worse is a failure, inconclusive is skipped, not comparable is an error. Both Ant's and Jenkins' schemas
    (junit-10.xsd) accept the layout.
    """
    cases = list(_cases(outcome))
    kinds = [_OUTCOMES.get(verdict, "") for _, _, verdict, _ in cases]
    counts = {"failures": kinds.count("failure"), "errors": kinds.count("error"), "skipped": kinds.count("skipped")}
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {"name": "harness check", "package": "harness.check", "id": "0", "tests": str(len(cases)), "time": "0"}
        | {name: str(count) for name, count in counts.items()}
        | {"timestamp": _last_finished(outcome), "hostname": "localhost"},
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("verdict", outcome.verdict), ("baseline", outcome.baseline), ("candidate", outcome.candidate)):
        ElementTree.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    for (kind, name, verdict, message), ending in zip(cases, kinds, strict=True):
        case = ElementTree.SubElement(suite, "testcase", {"name": _xml(name), "classname": kind, "time": "0"})
        if ending:
            ElementTree.SubElement(case, ending, {"type": verdict, "message": _xml(message)})
    ElementTree.SubElement(suite, "system-out").text = _xml(as_text(outcome))
    ElementTree.SubElement(suite, "system-err")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _cases(outcome: Outcome) -> Iterator[tuple[str, str, str, str]]:
    """Kind, name, verdict and message of each test case."""
    for task in outcome.tasks:
        yield "harness.check.task", plain(task.task), task.verdict, _task_message(task)
    yield "harness.check", _ALL, outcome.verdict, " ".join([_headline(outcome) + ".", *outcome.reasons])
    for ratio in outcome.resources:
        yield "harness.check.resource", ratio.figure.title, ratio.verdict, "; ".join(_ratio_cells(ratio, plain)[1:])


def _task_message(task: TaskOutcome) -> str:
    parts = list(task.remarks)
    if task.evidence:
        points, interval = _difference(task.evidence)
        parts.insert(0, f"{points} points ({interval}), margin {task.evidence.margin * 100:.3g}")
        if task.evidence.inconclusive and (enough := decides(task.evidence)):
            parts.append(f"enough for a verdict if there is no true difference: {enough}")
    return "; ".join(parts) or task.verdict


def _last_finished(outcome: Outcome) -> str:
    """When the last run ended; not the current time, so that the same results give the same file."""
    runs = [run.record for task in outcome.tasks for side in (task.baseline, task.candidate) for run in side.runs]
    times = [(run.environment.finished_at or "")[:19] for run in runs]
    valid = [time for time in times if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", time)]
    return max(valid, default="1970-01-01T00:00:00")


def _xml(text: str) -> str:
    return _NOT_XML.sub("?", text)
