"""Predict what a run will need."""
