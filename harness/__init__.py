"""Adaptation Harness: prompt it, give it documents, or train it? Measured on one task, one model, one budget."""

__version__ = "0.1.0"
