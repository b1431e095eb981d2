"""The dedup node: which frames are new to their project."""
