"""The page: the answers first, then a chapter a cohort, then where it all comes from; as markdown and as HTML.

The page holds no date of its own making: the same records give the same page, and a committed report has
quiet diffs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.decide.regret import over_tasks
from harness.report import html, public_twins
from harness.report.chapters import Chapter, heading
from harness.text import Table, code, markdown

DEQUANTISED = (
    "Most of the weights of {models} are dequantised from a GGUF file. On it no conclusion on LoRA against QLoRA "
    "quality and no comparison with published scores is drawn."
)
EXPLORATORY = (
    "Methods are chosen on the validation split and the test split estimates the choice once; the tables "
    "over all cells are exploratory, and the highest test value in a table is not the choice."
)
COMPARABLE = (
    "Methods are compared within a line of this table and never across. Another model is another base, other data or "
    "items are other questions, and on another device times and memory are other figures."
)
REGRET = (
    "The rule is applied to 2,000 draws of validation items and training seeds; regret is how far the method that it "
    "chooses falls short of the one that is best on all test items. *With one task left out* is the lowest share when "
    "any one is. Always LoRA means the rank with the highest validation value; the slogan means RAG on tasks that "
    "probe knowledge, full fine-tuning on all others."
)
ENDING = "Everything above as a spreadsheet: [records.csv](records.csv); as a page to ask: [report.html](report.html)."


@dataclass(frozen=True)
class Block:
    """A part of the page in both forms."""

    text: str
    html: str

    @classmethod
    def of(cls, text: str) -> Block:
        return cls(text, html.fragment(text))


def render(chapters: Sequence[Chapter], name: str, left_out: Sequence[str] = ()) -> tuple[str, str]:
    """The whole page as markdown and as HTML."""
    blocks = list(_blocks(chapters, name, left_out))
    text = "\n\n".join(block.text for block in blocks) + "\n"
    return text, html.page("".join(block.html for block in blocks), f"Report on {name}")


def _blocks(chapters: Sequence[Chapter], name: str, left_out: Sequence[str]) -> Iterator[Block]:
    yield Block.of("\n\n".join(_opening(chapters, name, left_out)))
    for task, of_task in groupby(chapters, key=lambda chapter: chapter.key.task):
        yield Block.of(f"## {markdown(task)}")
        yield from (Block(chapter.text, chapter.html) for chapter in of_task)
    if agreement := list(public_twins.section([(chapter.key, chapter.values) for chapter in chapters])):
        yield Block.of("\n\n".join(agreement))
    if fared := rules(chapters):
        yield Block.of(f"## How such a choice fares\n\n{REGRET}\n\n{fared.markdown()}")
    yield Block.of(f"## Provenance\n\n{environment(chapters).markdown()}")
    yield from (Block(chapter.origins, chapter.origins_html) for chapter in chapters)
    yield Block.of(ENDING)


def _opening(chapters: Sequence[Chapter], name: str, left_out: Sequence[str]) -> Iterator[str]:
    yield f"# Report on {markdown(name)}"
    yield from answers(chapters)
    yield EXPLORATORY
    if left_out:
        yield "\n".join(f"- left out: {markdown(message, 400)}" for message in left_out)
    if dequantised := sorted({chapter.key.model for chapter in chapters if chapter.dequantised}):
        yield DEQUANTISED.format(models=" and ".join(map(markdown, dequantised)))
    if len(chapters) > len({chapter.key.task for chapter in chapters}):
        yield "## What can be compared"
        yield COMPARABLE
        yield cohorts(chapters).markdown()


def answers(chapters: Sequence[Chapter]) -> Iterator[str]:
    """The answer for each task and model, from its cohort with the most items."""
    models = {(chapter.key.task, chapter.key.model) for chapter in chapters}
    for (task, model), of_model in by_task(chapters):
        headline = _headline(of_model)
        several = sum(known == task for known, _ in models) > 1
        subject = f"**{markdown(task)}**" + (f" on {markdown(model)}" if several else "")
        others = len(of_model) - 1
        also = f" {others} smaller or other cohort{'s' * (others > 1)} below." if others else ""
        yield f"{subject}: {headline.answer}{also}"


def by_task(chapters: Sequence[Chapter]) -> Iterator[tuple[tuple[str, str], list[Chapter]]]:
    """The chapters of each task and model."""
    for key, group in groupby(chapters, key=lambda chapter: (chapter.key.task, chapter.key.model)):
        yield key, list(group)


def _headline(of_task: Sequence[Chapter]) -> Chapter:
    return max(of_task, key=lambda chapter: (chapter.key.items or 0, chapter.runs))  # as Cohort.size


def rules(chapters: Sequence[Chapter]) -> Table | None:
    """Regret of the recommendation and of two fixed rules; None if there is only one task."""
    headlines = [_headline(of_task) for _, of_task in by_task(chapters)]
    summaries = over_tasks([{rule: (share, mean) for rule, (share, mean) in c.regret.items()} for c in headlines])
    rows = [
        (one.rule, f"{one.tasks}", f"{one.within:.0%}", f"{one.least:.0%}", f"{100 * one.mean:.1f}")
        for one in summaries
        if one.tasks > 1
    ]
    head = ("rule", "tasks", "within 2 points of the best", "with one task left out", "mean regret, points")
    return Table(head, tuple(rows)) if rows else None


def cohorts(chapters: Sequence[Chapter]) -> Table:
    """What each chapter is about, and its number of runs."""
    rows = [(markdown(chapter.key.task), heading(chapter.key), f"{chapter.runs:,}") for chapter in chapters]
    return Table(("task", "what", "runs"), tuple(rows))


def environment(chapters: Sequence[Chapter]) -> Table:
    """Versions, commit, device, data and dates; where runs differ, each value with its number of runs."""
    seen: dict[str, Counter[str]] = {}
    for what, value, runs in (fact for chapter in chapters for fact in chapter.facts):
        seen.setdefault(what, Counter())[value] += runs
    rows = [
        (
            markdown(what),
            ", ".join(f"{code(v)} ({n} runs)" if len(values) > 1 else code(v) for v, n in values.items()),
        )
        for what, values in seen.items()
    ]
    times = [when for chapter in chapters for when in chapter.times]
    if times:
        rows.append(("when", f"{code(min(times))} to {code(max(times))}"))
    return Table(("what", "value"), tuple(rows))
