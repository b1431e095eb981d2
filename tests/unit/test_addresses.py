"""Addresses: what is public, what may be dialled, and that nothing else is reached."""

import asyncio
import json
import socket
import subprocess
import sys

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from lodestream.web.addresses import Refused, allowed, check, plain, public, socket_factory

PUBLIC = "1.1.1.1 93.184.216.34 2606:4700:4700::1111 2a00:1450:4001:81b::200e ::ffff:8.8.8.8 64:ff9b::808:808".split()  # noqa: SIM905
NOT_PUBLIC = """
    127.0.0.1 127.0.0.2 0.0.0.0 10.0.0.1 172.16.5.4 192.168.1.1 100.64.0.1 169.254.169.254 192.0.0.8 192.0.2.1
    198.18.0.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1
    ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2001::1 2001:db8::1 3fff::1
    fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd00:ec2::254 ff02::1 ff0e::1 100::1 5f00::1
""".split()  # noqa: SIM905


@pytest.mark.parametrize("ip", PUBLIC)
def test_public(ip):
    assert public(ip)


@pytest.mark.parametrize("ip", NOT_PUBLIC)
def test_not_public(ip):
    assert not public(ip)
    with pytest.raises(Refused, match=r"forbidden address: .*:80"):
        check(ip, 80, frozenset())


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_however_it_is_wrapped(address):
    assert public(f"::ffff:{address}") == public(f"64:ff9b::{address}") == public(str(address))
    assert plain(f"::ffff:{address}") == address


@pytest.mark.parametrize("name", ["localhost", "example.org", "2130706433", "0x7f.1", "", "127.1"])
def test_names_are_refused(name):
    with pytest.raises(Refused):
        check(name, 80, allowed(["127.0.0.1:80"]))


def test_allowed_is_one_address_and_one_port():
    allow = allowed(["127.0.0.1:8000", "[::1]:90"])
    check("127.0.0.1", 8000, allow)
    check("::ffff:127.0.0.1", 8000, allow)
    check("::1", 90, allow)
    for host, port in (("127.0.0.1", 8001), ("127.0.0.2", 8000), ("::1", 8000)):
        with pytest.raises(Refused):
            check(host, port, allow)


@pytest.mark.parametrize("entry", ["localhost:80", "127.0.0.1", "127.0.0.1:", "10.0.0.0/8:80"])
def test_allowed_takes_addresses_with_ports_only(entry):
    with pytest.raises(ValueError, match=r".+"):
        allowed([entry])


GUARDED = """
import json, socket, subprocess, sys, urllib.request
from lodestream.web.addresses import allowed, guard
port, inner = int(sys.argv[1]), int(sys.argv[2])
refused = guard(allowed([f"127.0.0.1:{port}"]), ["/bin/true"])
def attempt(what):
    try:
        what()
        return "through"
    except OSError as error:
        return type(error).__name__
def udp():
    socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.2", inner))
def unix():
    socket.socket(socket.AF_UNIX).connect("/run/none")
print(json.dumps([
    attempt(lambda: socket.create_connection(("127.0.0.1", port))),
    attempt(lambda: socket.create_connection(("127.0.0.2", inner))),
    attempt(lambda: socket.socket().connect(("localhost", port))),
    attempt(udp), attempt(unix),
    attempt(lambda: subprocess.run(["/bin/true"])), attempt(lambda: subprocess.run(["/bin/echo"])),
    refused,
]))
"""


def test_guard_holds_all_of_python_but_what_is_allowed():
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.2", 0)) as inner:
        ports = [str(server.getsockname()[1]) for server in (ours, inner)]
        said = subprocess.run([sys.executable, "-c", GUARDED, *ports], capture_output=True, check=True)
        inner.setblocking(False)
        with pytest.raises(BlockingIOError):
            inner.accept()
    *verdicts, refused = json.loads(said.stdout)
    assert verdicts == ["through", "Refused", "Refused", "Refused", "Refused", "through", "Refused"]
    assert refused == [
        *(f"127.0.0.2:{ports[1]}", f"localhost:{ports[0]}", f"127.0.0.2:{ports[1]}"),
        *("a local socket:0", "program /bin/echo"),
    ]


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "2130706434", "127.2", "[::ffff:127.0.0.2]", "0.0.0.0"])
async def test_aiohttp_reaches_only_what_is_allowed(host):
    reached = []

    async def answer(request: web.BaseRequest) -> web.Response:
        reached.append(request.host)
        return web.Response(status=302, headers={"Location": request.query["to"]} if "to" in request.query else {})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    await web.TCPSite(runner, "127.0.0.2", port).start()
    connector = aiohttp.TCPConnector(socket_factory=socket_factory(allowed([f"127.0.0.1:{port}"])))
    async with aiohttp.ClientSession(connector=connector) as session:
        if host == "localhost":  # one of its addresses is allowed
            await session.get(f"http://localhost:{port}/")
        else:
            for url in (f"http://{host}:{port}/", f"http://127.0.0.1:{port}/?to=http://{host}:{port}/"):
                with pytest.raises((aiohttp.ClientConnectorError, aiohttp.InvalidURL)):
                    await session.get(url)
    await runner.cleanup()
    await asyncio.sleep(0)
    assert [name for name in reached if not name.startswith(("127.0.0.1:", "localhost:"))] == []
