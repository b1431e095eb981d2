"""Keys of web APIs: small files that only their owner may read, each for one site."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from yarl import URL

from lodestream.errors import Malformed

FOLDER = "api"
"""Below the secrets of an instance."""
VARIABLE = "LODE_API"
"""Names the folder of a service in a container, where a key is the file `api-<name>`."""
SITE = "site"
WANTED = "it is to hold 'Site: https://api.example.org', and headers such as 'Authorization: Bearer ...', a line each"


class Key(NamedTuple):
    """What one site is shown, and no other: who publishes a seed does not choose who sees it."""

    site: URL | None = None
    headers: dict[str, str] = {}  # noqa: RUF012

    def sent_to(self, url: URL) -> dict[str, str]:
        """The headers of a request: none to another site."""
        return self.headers if url.origin() == self.site else {}


def api_key(name: str) -> Key:
    """The key in `LODE_HOME/secrets/api/<name>`: the site, and the headers for it, `Name: value` a line.

    Raises Malformed, saying what to do, where there is none or where others may read it.
    """
    path = _place(name)
    try:
        text = _private(path)
    except OSError as error:
        raise Malformed("no key", f"cannot read {path} ({error.strerror}); {WANTED}, and to have mode 600") from None
    headers = dict(_header(line, path) for line in text.splitlines() if line.strip())
    site = next((headers.pop(given) for given in list(headers) if given.lower() == SITE), "")
    try:
        return Key(URL(site).origin(), headers)
    except ValueError:
        raise Malformed("no key", f"{path} names no site; {WANTED}") from None


def _place(name: str) -> Path:
    from lodestream.local import Home

    if folder := os.environ.get(VARIABLE):
        return Path(folder) / f"{FOLDER}-{name}"
    return Home.find().secrets / FOLDER / name


def _private(path: Path) -> str:
    """The text of a file that is ours alone. Raises OSError, and Malformed where others may read it."""
    with path.open(encoding="utf-8", errors="replace") as file:
        if not _is_ours(os.fstat(file.fileno())):
            raise Malformed("no key", f"others may read {path}; make it yours alone: chmod 600 {path}")
        return file.read(64 << 10)


def _is_ours(status: os.stat_result) -> bool:
    """Whether nobody else may read it; a Secret of Kubernetes is root's, and shown to a group that is one container."""
    mode = stat.S_IMODE(status.st_mode)
    mounted = os.getuid() != 0 and (status.st_uid, status.st_gid) == (0, os.getgid()) and not mode & 0o027
    return mounted or (status.st_uid == os.getuid() and not mode & 0o077)


def _header(line: str, path: Path) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip() or not value.strip() or not (name + value).isprintable():
        raise Malformed("no key", f"a line of {path} is no header; {WANTED}")
    return name.strip(), value.strip()
