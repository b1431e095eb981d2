"""A supervisor in the background: the process table on standard input, `ready` on standard output, then silence."""

import os
import sys

import msgspec

from lodestream.errors import LodeError
from lodestream.local.child import Program
from lodestream.local.home import Home
from lodestream.local.start import READY
from lodestream.local.state import State
from lodestream.local.supervisor import supervise


def main() -> None:
    """Supervise until told to stop; a person's mistake is told and ends with status 1."""
    home, table = Home.find(), msgspec.json.decode(sys.stdin.buffer.read(), type=list[Program])

    def on_ready(state: State) -> None:
        os.write(1, READY)
        with (home.logs / "supervisor.log").open("ab") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)

    try:
        supervise(home, table, on_ready)
    except LodeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
