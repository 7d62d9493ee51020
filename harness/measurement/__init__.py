"""Measurements: memory, time, floating-point operations and the machine."""
