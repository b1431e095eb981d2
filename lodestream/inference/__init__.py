"""How services infer: through a Triton server that all of them share."""
