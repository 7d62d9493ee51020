"""Place labels beside points so that they overlap neither each other nor points and bars.

Every name tries a few dozen places around its point; the cheapest wins, and a few rounds let early names make
room for later ones.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray

from harness.report.palette import GREY, INK

SIZE = 7.5
ROUNDS = 4
STEPS = 7  # how many lines up and down a name may move
ON_NAME, ON_POINT, ON_BAR, OUTSIDE, PER_LINE = 60.0, 30.0, 2.0, 400.0, 1.5

Boxes = NDArray[np.float64]  # (n, 4): left, bottom, right, top in pixels


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str


def place(axes: Axes, labels: list[Label], points: list[tuple[float, float, float, float]], dpi: float) -> None:
    """Write the labels; `points` are all (x, y, low, high) of the plot. Limits must be final."""
    if not labels:
        return
    sizes = [_size(label.text, dpi) for label in labels]
    line = max(height for _, height in sizes) * 1.15
    anchors = axes.transData.transform(np.array([(label.x, label.y) for label in labels]))
    choices = [_candidates(x, y, w, line) for (x, y), (w, _) in zip(anchors, sizes, strict=True)]
    fixed = [_fixed_cost(boxes, axes, points, line) for boxes in choices]
    picked = _settle(choices, fixed, line)
    for label, anchor, boxes, pick in zip(labels, anchors, choices, picked, strict=True):
        _write(axes, label, anchor, boxes[pick], line)


@functools.lru_cache(2**12)
def _size(text: str, dpi: float) -> tuple[float, float]:
    """Width and height in pixels."""
    width, height, _ = RendererAgg(1, 1, dpi).get_text_width_height_descent(text, FontProperties(size=SIZE), False)
    return width, height


def text_width(texts: list[str], dpi: float) -> float:
    """Pixels that the widest needs."""
    return max(_size(text, dpi)[0] for text in texts)


def _candidates(x: float, y: float, width: float, line: float) -> Boxes:
    """To the right first, then left, then above and below, each moved up or down by half lines."""
    gap = line * 0.55
    shifts = sorted((k / 2 for k in range(-2 * STEPS, 2 * STEPS + 1)), key=abs)
    corners = [(left, y + s * line - line / 2) for s in shifts for left in (x + gap, x - gap - width)]
    corners += [(x - width / 2, y + side * (line * s) - line / 2) for s in (1, 1.5, 2, 3) for side in (1, -1)]
    return np.array([(left, low, left + width, low + line) for left, low in corners])


def _fixed_cost(
    boxes: Boxes, axes: Axes, points: list[tuple[float, float, float, float]], line: float
) -> NDArray[np.float64]:
    """Cost of a place, regardless of other labels: distance from its point, overlap with points, bars and the edge."""
    half = line * 0.35
    spots = np.array([(x, height) for x, *heights in points for height in heights], dtype=np.float64)
    pixels = axes.transData.transform(spots).reshape(-1, 3, 2)
    x, y, low, high = pixels[:, 0, 0], pixels[:, 0, 1], pixels[:, 1, 1], pixels[:, 2, 1]
    dots = np.stack([x - half, y - half, x + half, y + half], axis=1)
    bars = np.stack([x - 2, low, x + 2, high], axis=1)
    first = boxes[0]
    away = np.abs(boxes[:, 1] - first[1]) / line + 0.3 * np.arange(len(boxes)) / len(boxes)
    area = axes.bbox.extents
    beyond = (boxes[:, 0] < area[0]) | (boxes[:, 2] > area[2]) | (boxes[:, 1] < area[1]) | (boxes[:, 3] > area[3])
    hits = ON_POINT * _touches(boxes, dots).sum(1) + ON_BAR * _touches(boxes, bars).sum(1)
    return np.asarray(PER_LINE * away + hits + OUTSIDE * beyond, dtype=np.float64)


def _settle(choices: list[Boxes], fixed: list[NDArray[np.float64]], line: float) -> list[int]:
    picked = [int(cost.argmin()) for cost in fixed]
    for _ in range(ROUNDS):
        before = picked.copy()
        for i, boxes in enumerate(choices):
            others = np.array([choices[j][picked[j]] for j in range(len(choices)) if j != i]).reshape(-1, 4)
            picked[i] = int((fixed[i] + ON_NAME * _touches(boxes, others).sum(1)).argmin())
        if picked == before:
            break
    return picked


def _touches(boxes: Boxes, others: Boxes) -> NDArray[np.bool_]:
    """(n, m): which boxes lie on which."""
    a, b = boxes[:, None, :], others[None, :, :]
    apart = (a[..., 2] <= b[..., 0]) | (b[..., 2] <= a[..., 0]) | (a[..., 3] <= b[..., 1]) | (b[..., 3] <= a[..., 1])
    return np.asarray(~apart)


def _write(axes: Axes, label: Label, anchor: NDArray[np.float64], box: NDArray[np.float64], line: float) -> None:
    left, low, right, top = box
    middle = (low + top) / 2
    moved = abs(middle - anchor[1]) > line * 0.9
    if moved:  # a thin line back to the point, from the nearest end of the name
        end = min((left, right), key=lambda edge: abs(edge - anchor[0]))
        ends = axes.transData.inverted().transform(np.array([anchor, (end, middle)]))
        axes.plot(ends[:, 0], ends[:, 1], color=GREY, linewidth=0.5, zorder=1)
    x, y = axes.transData.inverted().transform((left, middle))
    axes.text(
        x,
        y,
        label.text,
        fontsize=SIZE,
        color=INK,
        va="center_baseline",
        parse_math=False,
        zorder=4,
    )


def spread(heights: list[float], gap: float) -> list[float]:
    """Heights moved apart to at least `gap`, in their order, as little as a few rounds manage."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    moved = [heights[i] for i in order]
    for _ in range(200):
        for i in range(len(moved) - 1):
            lack = gap - (moved[i + 1] - moved[i])
            if lack > 1e-9:
                moved[i] -= lack / 2
                moved[i + 1] += lack / 2
    result = [0.0] * len(heights)
    for i, height in zip(order, moved, strict=True):
        result[i] = height
    return result
