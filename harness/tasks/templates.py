"""Templates and expressions over a row, in a sandbox that cannot reach Python.

>>> template("Ticket: {{ text }}").render(text="no heat")
'Ticket: no heat'
>>> expression("labels[label]")(labels=["no", "yes"], label=1)
'yes'
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from jinja2 import StrictUndefined, Undefined, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
_JINJA.filters |= {
    "tojson": lambda value: json.dumps(value, ensure_ascii=False, sort_keys=True),
    "regex_escape": lambda value: re.escape(str(value)),
    "without": lambda text, pattern: re.sub(pattern, "", text),
    "findall": lambda text, pattern: re.findall(pattern, text),
}


@functools.cache
def template(text: str) -> Any:
    """A template with `render`; jinja2.TemplateError if the text is not a template, or a rendered field is missing."""
    return _JINJA.from_string(text)


@functools.cache
def expression(text: str) -> Any:
    """A function of the row's fields; jinja2.TemplateError if the text is not an expression, or a field is missing.

    A list stays a list.
    """
    compiled = _JINJA.compile_expression(text, undefined_to_none=False)

    def value(**fields: Any) -> Any:
        result = compiled(**fields)
        if isinstance(result, Undefined):
            raise UndefinedError(f"{text!r} is undefined")
        return result

    return value
