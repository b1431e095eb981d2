"""Graphs that are drawn by hand: small models that truly see colours and shapes, in plain ONNX operators."""
