"""The base model: its settings, loading and conversion."""
