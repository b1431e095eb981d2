"""A worker for which time runs fast: leases and unanswered messages are free again within seconds.

`python -m tests.support.hasty_worker TYPE`; the bucket and the consumers are to be made with the same times.
"""

import sys

LEASE_S, ACK_WAIT_S = 2.0, 3.0


def main() -> None:
    """As `lodestream.worker`."""
    import lodestream.lean  # noqa: F401
    from lodestream import worker
    from lodestream.bus import Puller
    from lodestream.leases import NatsLeases

    NatsLeases.__init__.__defaults__ = (LEASE_S,)  # type: ignore[misc]
    Puller.__init__.__kwdefaults__["ack_wait"] = ACK_WAIT_S  # type: ignore[index]
    worker.main()


if __name__ == "__main__":
    sys.exit(main())
