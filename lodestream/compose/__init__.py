"""The stack in containers: what is made once, what is provided at each start, and how the command line finds it."""
