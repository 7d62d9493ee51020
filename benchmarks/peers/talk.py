"""A worker that a benchmark talks to: a line of JSON in, a line of JSON out; nothing else comes out of it."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def serve(operations: dict[str, Callable[..., Any]]) -> None:
    """Answer {"call": name, ...arguments} until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(operations[asked.pop("call")](**asked)), file=out, flush=True)
