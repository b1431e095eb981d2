"""Ledgers: what was said of the frames of a project, in order, and the frames that it said so because of."""
