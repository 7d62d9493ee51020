"""How a model answers, and what one request takes."""
