"""report.html: the same page in one file that opens without a network, with interactive figures and tables.

It is made from the markdown page, part by part, so both say the same. What models and data say was escaped there;
besides, the page's policy lets no script run but its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from itertools import pairwise
from types import MappingProxyType

from markdown_it import MarkdownIt

from harness.files import slug
from harness.report.drawing import POINT, Drawing
from harness.report.palette import BLACK, FAINT, INK, PAPER

_THEMED = {BLACK: "currentColor", INK: "currentColor", PAPER: "var(--paper)", FAINT: "var(--faint)"}
"""What is black on white in a picture follows the page's light or dark."""
_HOLDER = '<div class="table" tabindex="0" role="region" aria-label="table">'
_HEADING = re.compile(r'<h2 id="([^"]*)">(.*?)</h2>')
_SWITCH = '<button id="theme" type="button">light or dark</button>'


def fragment(text: str, drawings: Sequence[Drawing] = (), tips: Mapping[str, str] = MappingProxyType({})) -> str:
    """A part of the markdown page as HTML; `tips` says of each run, by its id, what its points in figures show."""
    parser = MarkdownIt("commonmark").enable("table")
    figures = {f"figures/{drawing.name}": _figure(drawing, tips) for drawing in drawings}
    parser.add_render_rule("image", lambda _, tokens, i, *__: figures.get(tokens[i].attrGet("src") or "", ""))
    parser.add_render_rule("table_open", lambda *_: f"{_HOLDER}<table>")
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    tokens = parser.parse(text)
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open" and heading.tag == "h2":
            heading.attrSet("id", slug("".join(child.content for child in inline.children or [])).lower())
    return str(parser.renderer.render(tokens, parser.options, {}))


def page(body: str, title: str) -> str:
    """The whole file; the second-level headings of its body are in its menu."""
    script, style = _asset("page.js"), _asset("page.css")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{allowed}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name in _HEADING.findall(body))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header><nav aria-label="tasks">{links}</nav>{_SWITCH}</header>\n'
        f'<main>\n{body}</main>\n<div id="tip" role="status"></div>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def _asset(name: str) -> str:
    return resources.files("harness.report").joinpath("assets", name).read_text(encoding="utf-8")


def _figure(drawing: Drawing, tips: Mapping[str, str]) -> str:
    """The picture inside the page: colours that follow the theme, points that can be reached and asked."""
    svg = drawing.svg[drawing.svg.index("<svg") :]
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, themed in _THEMED.items():
        svg = re.sub(colour, themed, svg, flags=re.IGNORECASE)

    def focusable(point: re.Match[str]) -> str:
        tip = escape(tips.get(point[1], ""), quote=True)
        return f'<g class="point" tabindex="0" role="img" aria-label="{tip}" data-tip="{tip}">'

    svg = re.sub(rf'<g id="{POINT}([^"]*)">', focusable, svg)
    return f"<figure>{svg}<figcaption>{escape(drawing.description)}</figcaption></figure>"
