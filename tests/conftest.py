"""Fixtures for tests of every kind."""

from tests.support.triton import triton

__all__ = ["triton"]
