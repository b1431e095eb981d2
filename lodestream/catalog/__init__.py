"""The catalog from outside: `sql` finds its way to it by itself."""

from lodestream.catalog.client import Answer, Ways, ask, sql

__all__ = ["Answer", "Ways", "ask", "sql"]
