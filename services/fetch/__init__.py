"""The fetch service."""
