"""The discover service."""
