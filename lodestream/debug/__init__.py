"""For those who write nodes: one message at a time under a debugger, and stored messages once more without effect."""
