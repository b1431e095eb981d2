"""Makes the secrets of a stack in containers, once, and gives each service its own: `-m lodestream.compose.init`.

Runs as root without a network before everything else, at every start; what is there stays as it is. Arguments say who
runs as whom: `fetch=11013`. The data folders of the servers are given to them as well.
"""

import base64
import hmac
import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lodestream import natsconf, rights
from lodestream.compose import places
from lodestream.errors import LodeError
from lodestream.local.home import FORMAT, write_whole
from lodestream.node import Node
from lodestream.registry import node_types
from proto.keys import BUCKET

DATA = Path("/data")
"""Below it, the data folder of each server that has one."""
FAR_AWAY = 7_258_118_400
"""The year 2200: a token lasts as long as the passwords do."""


def make(
    owners: Mapping[str, int],
    types: Mapping[str, Node],
    root: Path = places.SECRETS,
    data: Path = DATA,
    store: str = places.STORE,
) -> None:
    """Make what is missing, and set the rights of everything anew; `store` is the object store's host:port.

    Raises LodeError where that is refused.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o711)
        _check_format(places.version(root))
        for user in owners:
            places.folder(user, root).mkdir(exist_ok=True)
        passwords = {user: _secret(password_file(user, root)) for user in rights.users(types)}
        accounts = rights.accounts(types, passwords)
        config = natsconf.config("lodestream", "0.0.0.0:4222", "/data", accounts, monitor="127.0.0.1:8222")
        write_whole(places.nats_config(root), config.encode())
        _secret(places.quack(root))
        _secret(places.grafana(root))
        _make_object_users([*types, rights.CATALOG, places.HOUSE], root, store)
        write_whole(places.figures(root), _figures_token(_secret(places.objects_key(places.PROMETHEUS, root))))
        for user, uid in owners.items():
            _give(places.folder(user, root), uid)
            if (data / user).is_dir():
                _give_data(data / user, uid)
    except OSError as error:
        raise LodeError(f"cannot write {error.filename or root}: {error.strerror}; is the volume writable?") from None


def _check_format(file: Path) -> None:
    """Raises LodeError where the volumes were written by a version that writes them otherwise."""
    if not file.exists():
        write_whole(file, b"%d\n" % FORMAT)
    if (found := file.read_text().strip()) != str(FORMAT):
        why = f"the volumes were written by another version of Lodestream (format {found}, this one has {FORMAT})"
        raise LodeError(f"{why}; use that version, or another project: docker compose -p NAME up -d")


def password_file(user: str, root: Path) -> Path:
    """Its NATS password. The operator and people have no service of their own: the house keeps their passwords."""
    if user in (rights.OPERATOR, rights.SEEDER, rights.VIEWER):
        return places.folder(places.HOUSE, root) / f"nats-{user}"
    return places.password(user, root)


def _make_object_users(users: list[str], root: Path, store: str) -> None:
    administrator = _secret(places.objects_key(places.ROOT, root))
    write_whole(
        places.minio_env(root), f"MINIO_ROOT_USER={places.ROOT}\nMINIO_ROOT_PASSWORD={administrator}\n".encode()
    )
    for user in users:
        key = _secret(places.objects_key(user, root))
        write_whole(places.objects(user, root), f"s3://{user}:{key}@{store}/{BUCKET}\n".encode())


def _figures_token(key: str) -> bytes:
    """What MinIO takes for a request for its figures: a JSON web token of its user, signed with that user's key."""
    claims = {"sub": places.PROMETHEUS, "iss": "prometheus", "exp": FAR_AWAY}
    signed = b".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS512", "typ": "JWT"}, claims))
    return signed + b"." + _base64(hmac.digest(key.encode(), signed, "sha512"))


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _secret(file: Path) -> str:
    """What the file holds; 256 random bits at first."""
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        write_whole(file, secrets.token_urlsafe(32).encode() + b"\n")
    return file.read_text().strip()


def _give(folder: Path, uid: int) -> None:
    for file in folder.iterdir():
        os.chown(file, uid, uid)
        file.chmod(0o400)
    os.chown(folder, uid, uid)
    folder.chmod(0o500)


def _give_data(folder: Path, uid: int) -> None:
    """All that lies there belongs to its server; a volume that was restored may belong to anybody."""
    below = (Path(at) / name for at, folders, files in os.walk(folder) for name in (*folders, *files))
    for path in (folder, *below):
        with suppress(FileNotFoundError):  # the server runs meanwhile, where the stack is up, and removes what it made
            if path.lstat().st_uid != uid:
                os.chown(path, uid, uid, follow_symlinks=False)


def owners(arguments: list[str]) -> dict[str, int]:
    """Who runs as whom. Raises LodeError for an argument that is not `user=uid`, or a user that is missing."""
    found = {}
    for argument in arguments:
        user, _, uid = argument.partition("=")
        if not user or not uid.isdecimal():
            raise LodeError(f"{argument!r} is not user=uid")
        found[user] = int(uid)
    wanted = {*node_types(), rights.CATALOG, rights.SCALER, places.NATS, places.MINIO, places.HOUSE, places.TRITON}
    wanted |= {places.PROMETHEUS, places.LOKI, places.GRAFANA}
    if missing := sorted(wanted - found.keys()):
        raise LodeError(f"nobody is said to run {', '.join(missing)}: add {missing[0]}=UID to the command of init")
    return found


def main() -> None:
    """Entry point; a person's mistake is one line and status 1."""
    try:
        make(owners(sys.argv[1:]), node_types())
    except LodeError as error:
        sys.exit(f"init: {error}")


if __name__ == "__main__":
    main()
