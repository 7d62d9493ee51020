"""Adaptation Harness: prompt it, give it documents, or train it? Measured on one task, one model, one budget."""

__version__ = "0.1.0"
RESULTS_VERSION = 2
"""Part of every run's identity. Raise it when the same settings may give other answers, times or memory than before:
another prompt, another order of the rows, another loss, a metric that scores otherwise. Not for a move or a rename."""
