"""The demo: a small web site of real video, encoded on the spot, and the flow that mines it."""
