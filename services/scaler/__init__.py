"""The scaler, and the hands that it asks: no node type, but what gives node types their workers in containers."""
