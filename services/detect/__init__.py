"""The detect node."""
