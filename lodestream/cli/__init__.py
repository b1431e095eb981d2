"""The command line: `lode`. Commands import what they need when they run: `lode --help` is there at once."""


def main() -> int:
    """Run `lode` with the process's arguments; the exit status."""
    from lodestream.cli.entry import run

    return run()
