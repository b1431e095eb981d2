"""Which addresses a node may dial: the public internet, and what a flow allows by name. Checked at each connect.

A URL or a host name is never judged, only the address that a socket is about to be connected to: after DNS, on every
redirect, page, playlist and segment. So nothing gets through by spelling, by a redirect, or by a name that changes.
"""

import errno
import ipaddress
import socket
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any

Allowed = frozenset[tuple[str, int]]
"""Address literals and ports that may be dialled although they are not public."""

HOST_PORT = r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]):\d{1,5}$"
"""How `allow_hosts` is written: `127.0.0.1:8000`, `[::1]:8000`."""

_V6 = ipaddress.ip_network("2000::/3")
_SPECIAL = [
    ipaddress.ip_network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")
]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class Refused(PermissionError):
    """An address that may not be dialled. An OSError on purpose: whoever meets one gives up on that address only."""

    def __init__(self, what: str):
        super().__init__(errno.EACCES, f"forbidden address: {what}")
        self.what = what


def plain(literal: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that is really meant: that within an IPv4-mapped or NAT64 one. Raises ValueError on a name."""
    address = ipaddress.ip_address(literal.partition("%")[0])
    if address.version == 6 and address.ipv4_mapped:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def public(ip: str) -> bool:
    """Whether an address literal is on the public internet. Raises ValueError on a name.

    `is_global` alone passes multicast, 6to4, NAT64 and `::a.b.c.d`.
    """
    address = plain(ip)
    if not address.is_global or address.is_multicast or any(address in net for net in _SPECIAL):
        return False
    return address.version == 4 or address in _V6


def allowed(settings: Iterable[str]) -> Allowed:
    """`allow_hosts` as read: `["127.0.0.1:8000"]`. Raises ValueError where an entry is no address with a port."""
    return frozenset(
        (str(plain(host.strip("[]"))), int(port)) for host, _, port in (s.rpartition(":") for s in settings)
    )


def check(host: str, port: int, allow: Allowed) -> None:
    """Raises Refused unless the address may be dialled; a name may not, for it would be resolved out of our sight."""
    try:
        if public(host) or (str(plain(host)), port) in allow:
            return
    except ValueError:
        pass
    raise Refused(f"{host}:{port}")


def guard(allow: Allowed, programs: Collection[str] = ()) -> list[str]:
    """For the rest of this process, check each connect and let only `programs` (paths) run; it cannot be undone.

    Returns the list that grows with what is refused. For children: it sees all of Python, but neither C libraries that
    open their own sockets nor what a program does.
    """
    refused: list[str] = []

    def hook(event: str, args: tuple[Any, ...]) -> None:
        try:
            if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and args[1] is not None:
                host, port = args[1][:2] if args[0].family in _INTERNET else ("a local socket", 0)
                check(host, port, allow)
            elif (
                event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system") and str(args[0]) not in programs
            ):
                raise Refused(f"program {args[0]}")
        except Refused as error:
            refused.append(error.what)
            raise

    sys.addaudithook(hook)
    return refused


def socket_factory(allow: Allowed) -> Callable[[tuple[Any, ...]], socket.socket]:
    """For `aiohttp.TCPConnector(socket_factory=...)`: makes a socket only for an address that may be dialled."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        check(address[0], address[1], allow)
        return socket.socket(family, kind, protocol)

    return make
