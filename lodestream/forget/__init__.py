"""Forgetting: what is known of a video, a seed or a source is removed everywhere, and does not come back."""
