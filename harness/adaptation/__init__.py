"""What happens to the weights."""
