"""The contexts: instructions, demonstrations and passages in the prompt."""
