"""The Secrets of a stack on Kubernetes, as one list for kubectl: `-m lodestream.compose.kube STORE`.

STORE is the object store's host:port, a MinIO server whose administrator `root` has the password of Secret lode-minio.
Each run makes other passwords.
"""

import json
import os
import sys
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lodestream import rights
from lodestream.compose import places
from lodestream.compose.init import make, password_file
from lodestream.errors import LodeError
from lodestream.registry import node_types


def secrets(store: str) -> dict[str, Any]:
    """One Secret for each user, with the files that compose's init makes for it. Raises LodeError."""
    types = node_types()
    services = (places.NATS, places.MINIO, places.TRITON, places.PROMETHEUS, places.LOKI, places.GRAFANA, rights.SCALER)
    users = (*types, rights.CATALOG, places.HOUSE)
    with TemporaryDirectory() as folder:
        root = Path(folder) / "secrets"
        make(dict.fromkeys((*users, *services), os.getuid()), types, root, root / "none", store)
        found = {user: {file.name: file.read_text() for file in places.folder(user, root).iterdir()} for user in users}
        passwords = {user: password_file(user, root).read_text().strip() for user in rights.users(types)}
        administrator = places.objects_key(places.ROOT, root).read_text().strip()
    found[places.NATS] = {"accounts.conf": rights.accounts(types, passwords)}
    found[places.MINIO] = {"rootUser": places.ROOT, "rootPassword": administrator}
    return {"apiVersion": "v1", "kind": "List", "items": [_secret(user, files) for user, files in found.items()]}


def _secret(user: str, files: dict[str, str]) -> dict[str, Any]:
    data = {name: b64encode(text.encode()).decode() for name, text in sorted(files.items())}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"lode-{user}"}, "type": "Opaque", "data": data}


def main() -> None:
    """Entry point; a person's mistake is one line and status 1."""
    if len(sys.argv) != 2 or ":" not in sys.argv[1]:
        sys.exit("usage: python -m lodestream.compose.kube HOST:PORT, where the object store is: minio.minio:9000")
    try:
        print(json.dumps(secrets(sys.argv[1]), indent=1))
    except LodeError as error:
        sys.exit(f"kube: {error}")


if __name__ == "__main__":
    main()
