"""What a user did wrong, said in a sentence; the command line prints it without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can fix: the message says what is wrong, where, and what to do."""


class NotApplicable(Exception):
    """A cell of a sweep that makes no sense (RAG on a task without documents); skipped and listed, never failed."""


class Diverged(Exception):
    """The loss of a training is no longer a number."""
