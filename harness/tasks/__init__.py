"""The tasks: their rows and documents, and how an answer is scored."""
