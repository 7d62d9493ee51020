"""A decision as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from harness.decide import Decision, Limits
from harness.decide.text import as_markdown
from harness.report import html


def as_html(decisions: Sequence[Decision], limits: Limits) -> str:
    """The same as `as_markdown`, as a page that needs nothing else."""
    return html.page(html.fragment(as_markdown(decisions, limits)), "What to do")
