"""The engine: everything that a node type needs and does not have to write itself."""
