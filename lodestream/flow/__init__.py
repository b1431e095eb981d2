"""Flow files: read, lint, diff and deploy them."""
