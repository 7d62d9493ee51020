"""What the command line answers before any library is loaded."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from harness import __version__

SLOW = ("torch", "transformers", "peft", "trl", "datasets", "hydra", "scipy", "matplotlib", "pandas", "sklearn")
"""Libraries that take from a tenth of a second to several seconds to import."""
SCRIPT = """
import sys
from harness.cli import main
sys.argv = ["harness", *sys.argv[1:]]
try:
    main()
finally:
    print([name for name in {slow} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("--help", r"(?s)Usage: harness .*For this task, on this model.*\brun\b.*\bcheck\b"),
        ("list", r"(?m)^ *lora\b"),
        ("--version", rf"^(harness )?{re.escape(__version__)}\n$"),
    ],
)
def test_help_list_and_version_load_no_library_that_takes_long(word: str, shown: str) -> None:
    script = SCRIPT.format(slow=SLOW)
    done = subprocess.run([sys.executable, "-c", script, word], capture_output=True, text=True, check=True)
    assert re.search(shown, done.stdout), done.stdout
    assert done.stderr == "[]\n"
