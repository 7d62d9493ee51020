"""What the machine did: memory, time, operations."""
