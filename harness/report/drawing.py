"""A finished figure; separate from the drawing code, which takes a second to load."""

from __future__ import annotations

from dataclasses import dataclass

POINT = "run-"
"""What the name of a point's group in an SVG begins with; the run's id follows."""


@dataclass(frozen=True)
class Drawing:
    """A picture of a cohort."""

    name: str
    """Of its file."""
    description: str
    """For those who do not see it."""
    svg: str
    """A point's group is named POINT and the run's id."""
