"""The figures of a cohort: quality against memory, latency, training, cost and forgetting, by rank and by rows.

Bars are 95 % intervals, names stand beside their points instead of in a legend. matplotlib is used without
pyplot, so no window system and no global state are touched.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from math import log2
from statistics import fmean

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from harness.decide.choose import NOT_CHOSEN
from harness.files import slug
from harness.records import costs, measures
from harness.records.cohorts import Cohort, Row
from harness.records.costs import Prices
from harness.records.index import Key
from harness.records.record import Record, Retention
from harness.report import cost_table
from harness.report.drawing import POINT, Drawing
from harness.report.label_placement import SIZE, Label, place, spread, text_width
from harness.report.palette import FAINT, GREY, INK, PAPER, colour, mark
from harness.text import memory_unit, plain, short

WIDTH, HEIGHT = 7.0, 4.2
DPI = 200  # at which names are measured and placed; the picture itself has no pixels
LEFT, RIGHT, BOTTOM, TOP = 0.075, 0.975, 0.13, 0.90  # of the axes, in parts of the figure
LOG_FROM = 3.0  # the largest over the smallest value from which an axis is logarithmic
# A name that has to lie on a bar stays readable.
HALO = f" text{{paint-order: stroke; stroke: {PAPER}; stroke-width: 2px}}"
SPARE = 0.12  # of the data's width, left of the cheapest point
CROWD = 16  # more names than this do not find room
REFERENCES = ("zero_shot", "full")


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    low: float
    high: float
    row: Row


def draw_figures(cohort: Cohort, prices: Prices) -> list[Drawing]:
    """The figures for which the cohort has enough points."""
    unit = memory_unit(measures.peak_memory(r) for r in cohort.records)
    memory = "resident memory" if _on_cpu(cohort) else "GPU memory"
    plans = {
        "memory": lambda: scatter(
            cohort, lambda r: _scaled(measures.peak_memory(r), unit.size), f"peak {memory} ({unit.name})"
        ),
        "latency": lambda: scatter(cohort, measures.latency, "median latency of one request (ms)"),
        "training": lambda: scatter(cohort, _training_seconds, "training time (s)"),
        "cost": lambda: scatter(cohort, lambda r: costs.total(r, prices), cost_table.total_is(prices)),
        "rank": lambda: by_rank(cohort),
        "rows": lambda: by_rows(cohort),
        "retention": lambda: forgetting(cohort),
    }
    said = {
        "memory": f"against peak {memory}",
        "latency": "against median latency of one request",
        "training": "against training time",
        "cost": f"against the {cost_table.total_is(prices)}",
        "rank": "by rank",
        "rows": "by the number of labelled rows",
        "retention": "against what was forgotten",
    }
    drawings = []
    for name, plan in plans.items():
        if figure := plan():
            file = f"{slug(cohort.key.task)}-{slug(cohort.key.model)}-{_digest(cohort.key)}-{name}.svg"
            about = f"{cohort.metric} on the test split of {cohort.key.task} {said[name]}"
            drawings.append(Drawing(file, about, _as_svg(figure, file)))
    return drawings


def _digest(key: Key) -> str:
    """A short hash that distinguishes cohorts of one task and model."""
    return sha256("|".join(map(str, key)).encode()).hexdigest()[:4]


def _as_svg(figure: Figure, name: str) -> str:
    """With text as text, and a halo around it; ids come from the name, so two pictures in a page share none."""
    drawn = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue().replace("</style>", f"{HALO}</style>", 1)


def _on_cpu(cohort: Cohort) -> bool:
    return any(measures.memory_kind(r) == "rss" for r in cohort.records)


def _scaled(value: float | None, size: float) -> float | None:
    return None if value is None else value / size


def points_of(cohort: Cohort, spent: Callable[[Record], float | None]) -> list[Point]:
    points = []
    for row in cohort.rows:
        x, quality = spent(row.record), measures.quality(row.record)
        if x is not None and quality is not None:
            low, high = quality.low, quality.high
            y = quality.value
            points.append(Point(x, y, y if low is None else low, y if high is None else high, row))
    return points


def scatter(cohort: Cohort, spent: Callable[[Record], float | None], axis: str) -> Figure | None:
    """Quality against what is spent: up and to the left is better. None where all spend the same."""
    points = points_of(cohort, spent)
    if len({point.x for point in points}) < 2:
        return None
    figure, axes = _blank(cohort)
    if len({point.row.name for point in points}) > CROWD:
        _join_ranks(axes, points)  # elsewhere such a line could be taken for an interval
    _pareto_front(axes, points)
    _dots(axes, points)
    axes.set_xlabel(f"{axis}; dashed: nothing that costs less is better", color=INK)
    labels = _labels(points)
    widest = text_width([label.text for label in labels], DPI) / (WIDTH * DPI * (RIGHT - LEFT))
    _cost_axis(axes, [point.x for point in points], widest)
    _quality_axis(axes, points)
    places = [(p.x, p.y, p.low, p.high) for p in points]
    place(axes, labels, places, DPI)
    return figure


def _training_seconds(record: Record) -> float | None:
    return (record.training and record.training.seconds) if record.training else 0.0


def pareto(points: list[Point]) -> list[Point]:
    """The points that no cheaper one beats, cheapest first; leaves out methods that are only an upper bound."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if point.row.record.context not in NOT_CHOSEN and (not front or point.y > front[-1].y):
            front.append(point)
    return front


def _pareto_front(axes: Axes, points: list[Point]) -> None:
    front = pareto(points)
    if len(front) > 1:
        xs, ys = [p.x for p in front], [p.y for p in front]
        axes.step(xs, ys, where="post", color=GREY, linewidth=0.9, linestyle=(0, (3, 3)), alpha=0.7, zorder=1)


def _labels(points: list[Point]) -> list[Label]:
    """One name a cell: where several seeds of it are drawn, beside the one in the middle.

    In a crowd only the lowest and the highest rank of a method are named; their line shows the rest.
    """
    cells: dict[str, list[Point]] = {}
    for point in points:
        cells.setdefault(point.row.name, []).append(point)
    middles = [sorted(cell, key=lambda p: p.y)[len(cell) // 2] for cell in cells.values()]
    if len(middles) > CROWD:
        inner = [p for line in _series(middles).values() for p in _by_rank(line)[1:-1]]
        middles = [p for p in middles if p not in inner]
    return [Label(p.x, p.y, plain(p.row.name, 32)) for p in middles]


def _by_rank(line: list[Point]) -> list[Point]:
    return sorted(line, key=lambda p: p.row.record.rank or 0)


def _join_ranks(axes: Axes, points: list[Point]) -> None:
    """A faint line through a method's ranks, the seeds' means if there are several."""
    for line in _series(points).values():
        ranks = [list(of_rank) for _, of_rank in groupby(_by_rank(line), key=lambda p: p.row.record.rank)]
        xs, ys = (
            [fmean(p.x for p in group) for group in ranks],
            [fmean(p.y for p in group) for group in ranks],
        )
        axes.plot(xs, ys, color=colour(line[0].row.record), linewidth=0.8, alpha=0.5, zorder=1)


def _blank(cohort: Cohort) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((LEFT, BOTTOM, RIGHT - LEFT, TOP - BOTTOM))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, labelsize=8)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    items = f"{cohort.key.items:,} test items" if cohort.key.items else "test split"
    said = plain(f"{cohort.key.task}, {cohort.key.model}: {cohort.metric} on {items}, 95 % intervals", 110)
    # The vertical axis is named here, where it reads without turning one's head.
    figure.text(0.026, 0.945, said, fontsize=9, color=INK, va="center", parse_math=False)
    axes.xaxis.label.set_fontsize(9)
    return figure, axes


def _dots(axes: Axes, points: list[Point], shift: float = 0.0) -> None:
    """Every point with its interval."""
    xs, tints = [point.x + shift for point in points], [colour(point.row.record) for point in points]
    axes.vlines(xs, [p.low for p in points], [p.high for p in points], tints, linewidth=1.1, alpha=0.55, zorder=2)
    for x, tint, point in zip(xs, tints, points, strict=True):
        dot = Line2D(
            [x], [point.y], color=tint, marker=mark(point.row.record), markersize=5.5,
            markeredgecolor=PAPER, markeredgewidth=0.6, zorder=3, gid=f"{POINT}{point.row.record.run_id}",
        )  # fmt: skip
        axes.add_line(dot)


def _quality_axis(axes: Axes, points: list[Point]) -> None:
    """As far as the intervals reach and a little more, within 0 to 1 if the scores are."""
    low, high = min(p.low for p in points), max(p.high for p in points)
    pad = max(0.06 * (high - low), 0.01)
    axes.set_ylim(low - pad, high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))


def _cost_axis(axes: Axes, values: list[float], widest: float) -> None:
    """Room on the right for the widest name (a part of the axis); logarithmic where costs spread several times over."""
    low, high = min(values), max(values)
    room = min(widest + 0.02, 0.4)
    right = (1 + SPARE) * room / (1 - room)
    if low > 0 and high / low > LOG_FROM:
        axes.set_xscale("log")
        spread_ = high / low
        axes.set_xlim(low / spread_**SPARE, high * spread_**right)
        steps = (1.0,) if spread_ > 1000 else (1.0, 2.0, 5.0) if spread_ > 10 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        pad = (high - low) or abs(high) or 1.0
        axes.set_xlim(low - SPARE * pad, high + right * pad)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def by_rank(cohort: Cohort) -> Figure | None:
    """Quality by rank for every LoRA-like method with two ranks or more; the line is the seeds' mean."""
    points = points_of(cohort, lambda r: log2(r.rank) if r.rank else None)
    return _lines(cohort, _series(points), "rank", REFERENCES)


def by_rows(cohort: Cohort) -> Figure | None:
    """The learning curve: quality by labelled rows, for every method with three numbers of them or more."""
    points = points_of(cohort, lambda r: log2(n) if (n := measures.labelled_rows(r)) else None)
    series: dict[str, list[Point]] = {}
    for point in points:
        settings = [f"{name}={value}" for name, value in point.row.variant.items() if name != "max_train_examples"]
        name = point.row.record.label + (f" ({', '.join(settings)})" if settings else "")
        series.setdefault(name, []).append(point)
    curves = {name: line for name, line in sorted(series.items()) if len({p.x for p in line}) > 2}
    return _lines(cohort, curves, "labelled rows", REFERENCES[:1])


def forgetting(cohort: Cohort) -> Figure | None:
    """Quality against the change in general knowledge, both with their intervals: up and to the right is better."""
    points = points_of(cohort, lambda r: r.retention and r.retention.change)
    if len(points) < 2:
        return None
    figure, axes = _blank(cohort)
    for point in points:
        if ends := _ends(point.row.record):
            axes.hlines(point.y, ends[0], ends[1], color=colour(point.row.record), linewidth=1.1, alpha=0.55, zorder=2)
    _dots(axes, points)
    axes.axvline(0.0, color=FAINT, linewidth=1.0, zorder=1)
    axes.set_xlabel("change in accuracy on general knowledge (left of 0: forgotten)", color=INK)
    labels = _labels(points)
    widest = text_width([label.text for label in labels], DPI) / (WIDTH * DPI * (RIGHT - LEFT))
    _cost_axis(axes, [0.0, *(p.x for p in points), *(x for p in points for x in _ends(p.row.record))], widest)
    _quality_axis(axes, points)
    place(axes, labels, [(p.x, p.y, p.low, p.high) for p in points], DPI)
    return figure


def _ends(record: Record) -> list[float]:
    """Both ends of the interval of what was forgotten, or none."""
    changed = record.retention or Retention()
    return [] if changed.low is None or changed.high is None else [changed.low, changed.high]


def _lines(cohort: Cohort, series: dict[str, list[Point]], axis: str, beside: tuple[str, ...]) -> Figure | None:
    """A line for each series over powers of two, with the methods `beside` as dashed references."""
    if not series:
        return None
    references = _references(cohort, beside)
    drawn = [p for line in series.values() for p in line]
    figure, axes = _blank(cohort)
    ends = [(y, name, tint) for name, y, tint in references]
    for _, y, tint in references:
        axes.axhline(y, color=tint, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for number, (name, line) in enumerate(series.items()):
        shift = 0.05 * (number - (len(series) - 1) / 2)
        ends.append((_draw_series(axes, line, shift), name, colour(line[0].row.record)))
    _doubling_axis(axes, sorted({p.x for p in drawn}), axis)
    _quality_axis(axes, [*drawn, *(Point(0, y, y, y, drawn[0].row) for _, y, _ in references)])
    _end_labels(axes, ends)
    return figure


def _series(points: list[Point]) -> dict[str, list[Point]]:
    """Points of one method and one set of settings, those with two ranks or more."""
    series: dict[str, list[Point]] = {}
    for point in points:
        if not point.row.record.rank:
            continue
        settings = ", ".join(f"{name}={value}" for name, value in point.row.variant.items())
        name = point.row.record.method + (f" ({settings})" if settings else "")
        series.setdefault(name, []).append(point)
    return {name: line for name, line in sorted(series.items()) if len({p.row.record.rank for p in line}) > 1}


def _references(cohort: Cohort, methods: tuple[str, ...]) -> list[tuple[str, float, str]]:
    """(name, quality, colour) of what the lines are to be compared with; of several settings the best on validation."""
    found = []
    for method in methods:
        rows = [row for row in cohort.rows if row.record.method == method and measures.quality(row.record)]
        best = min(rows, key=lambda row: (-(measures.validation(row.record) or 0.0), row.name), default=None)
        if best is not None and (quality := measures.quality(best.record)):
            found.append((plain(best.name, 24), quality.value, colour(best.record)))
    return found


def _draw_series(axes: Axes, line: list[Point], shift: float) -> float:
    """The line through the means, every run's dot; the height of its right end."""
    ranks = sorted({p.x for p in line})
    means = [fmean(p.y for p in line if p.x == x) for x in ranks]
    axes.plot([x + shift for x in ranks], means, color=colour(line[0].row.record), linewidth=1.4, zorder=2)
    _dots(axes, line, shift)
    return means[-1]


def _doubling_axis(axes: Axes, positions: list[float], name: str) -> None:
    axes.set_xlabel(name, color=INK)
    axes.set_xlim(positions[0] - 0.3, positions[-1] + 0.25)
    axes.xaxis.set_major_locator(FixedLocator(positions))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(2**x) if 2**x >= 100 else f"{2**x:.0f}"))


def _end_labels(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Names at the right edge beside their lines, moved apart if lines end close together."""
    said = [f"{plain(name, 24)} {y:.2f}" for y, name, _ in ends]
    widest = text_width(said, DPI) / (WIDTH * DPI)
    axes.set_position((LEFT, BOTTOM, RIGHT - LEFT - widest - 0.025, TOP - BOTTOM))
    low, high = axes.get_ylim()
    gap = (high - low) * (SIZE * 1.35 / 72) / (HEIGHT * (TOP - BOTTOM))
    heights = spread([y for y, _, _ in ends], gap)
    right = axes.get_xlim()[1]
    for (y, _, tint), text, height in zip(ends, said, heights, strict=True):
        axes.annotate(
            text, (right, y), xytext=(1.03, (height - low) / (high - low)), textcoords="axes fraction",
            fontsize=SIZE, color=INK, va="center", parse_math=False, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": tint, "linewidth": 0.9, "shrinkA": 1, "shrinkB": 0},
        )  # fmt: skip
