"""Mistakes that a user can fix; the command line prints the sentence without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can fix: the message says what is wrong, where, and what to do."""


class RepeatedId(UserError):
    """Two rows of a task have the same id."""


class NotApplicable(Exception):
    """A cell of a sweep that makes no sense (RAG on a task without documents); skipped and listed, never failed."""


class NotInstalled(Exception):
    """A part of the harness that is not installed; the message is a line that says what to install.

    Not a UserError: an audit counts that as a defect of the data, a sweep as one wrong cell.
    """


class Diverged(Exception):
    """The loss of a training is no longer a number."""
