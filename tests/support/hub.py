"""A server on loopback that answers as the Hugging Face Hub does, and its faults."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34
GONE = {
    "gated": (403, "GatedRepo"),
    "private": (401, "RepoNotFound"),
    "no revision": (404, "RevisionNotFound"),
    "no file": (404, "EntryNotFound"),
}
"""What the Hub says of what one may not have, in a header."""


ELSEWHERE = "/elsewhere/"
TAIL = 1 << 20
"""Bytes that do not come where it stalls."""


@dataclass
class Hub:
    """One repository, `lab/toy`, and what goes wrong with it."""

    files: dict[str, bytes]
    """By path."""
    fault: str = ""
    """A key of GONE, or `stall` (the end of a large file does not come), `cut` (nor does what is beyond a piece of it),
    `broken` (500), `other` (other bytes than it says)."""
    token: str = ""
    """Who asks without it is told that the repository is gated."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and range of every request."""
    elsewhere: list[str | None] = field(default_factory=list)
    """What those who were sent elsewhere, as for all large files, said there of who they are."""
    url: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    """Ends all waiting."""


@contextmanager
def start_hub(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve these files until the end."""
    hub = Hub(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.stalled.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer(head=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, head: bool) -> None:
        hub, path = self.hub, self.path.partition(f"/resolve/{COMMIT}/")[2]
        asked, token = self.headers.get("Range", ""), self.headers.get("Authorization")
        if self.path.startswith(ELSEWHERE):
            hub.elsewhere.append(token)
            return self._serve(self.path.removeprefix(ELSEWHERE), asked, head)
        hub.asked.append((self.command, path or self.path, asked))
        if hub.fault == "broken":
            return self._refuse(500, "")
        if hub.token and token != f"Bearer {hub.token}":
            return self._refuse(*GONE["gated"])
        if hub.fault in GONE or path not in hub.files:
            return self._refuse(*GONE[hub.fault if hub.fault in GONE else "no file"])
        if len(hub.files[path]) > TAIL:
            return self._send_elsewhere(path)
        return self._serve(path, asked, head)

    def _send_elsewhere(self, path: str) -> None:
        data = self.hub.files[path]
        self.send_response(302)
        self._describe(data)
        self.send_header("Location", f"{self.hub.url.replace('127.0.0.1', 'localhost')}{ELSEWHERE}{path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _describe(self, data: bytes) -> None:
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(data).hexdigest()}"')

    def _serve(self, path: str, asked: str, head: bool) -> None:
        hub = self.hub
        data = hub.files[path]
        served = data[::-1] if hub.fault == "other" else data
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        self._describe(data)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        rest = b"" if head else served[start:]
        if hub.fault == "stall" and len(data) > TAIL and not head:
            self.wfile.write(rest[:-TAIL])
            self.wfile.flush()
            hub.stalled.wait(60)
        else:
            self.wfile.write(rest[:TAIL] if hub.fault == "cut" else rest)
        self.close_connection = hub.fault in ("stall", "cut")

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
