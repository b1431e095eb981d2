"""The filter node."""
