"""What the machine did: memory, time and operations."""
