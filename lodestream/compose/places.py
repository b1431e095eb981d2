"""Where things lie inside the containers, and under which names the parts know each other."""

from pathlib import Path

from lodestream.rights import CATALOG

SECRETS = Path("/run/lode")
"""A volume: a folder for each user that only that user may read."""
NATS, MINIO, HOUSE = "nats", "minio", "house"
"""Services that are no node type; `house` holds the operator's rights."""
TRITON = "triton"
"""Has no password: its socket lies in a volume that only those see who look at frames."""
MODELS = "/models"
"""Where the folder of models is to be seen."""
PROMETHEUS, LOKI, GRAFANA = "prometheus", "loki", "grafana"
"""Services of the profile `observe`; the first is a user of the object store's as well, for its figures alone."""
NATS_URL = "nats://nats:4222"
STORE = "minio:9000"
ROOT = "root"
"""The object store's administrator."""


def folder(user: str, secrets: Path = SECRETS) -> Path:
    """What only this user may read."""
    return secrets / user


def version(secrets: Path = SECRETS) -> Path:
    """Says in which format the volumes were written."""
    return secrets / "format"


def password(user: str, secrets: Path = SECRETS) -> Path:
    """Its NATS password."""
    return folder(user, secrets) / "nats"


def quack(secrets: Path = SECRETS) -> Path:
    """What DuckDB clients show the catalog."""
    return folder(CATALOG, secrets) / "quack"


def figures(secrets: Path = SECRETS) -> Path:
    """The token that the object store's figures are asked with."""
    return folder(PROMETHEUS, secrets) / "minio"


def grafana(secrets: Path = SECRETS) -> Path:
    """The password of Grafana's `admin`."""
    return folder(GRAFANA, secrets) / "password"


def objects(user: str, secrets: Path = SECRETS) -> Path:
    """Its URL of the object store, password included."""
    return folder(user, secrets) / "objects"


def objects_key(user: str, secrets: Path = SECRETS) -> Path:
    """Its password at the object store, for the one who makes the users there."""
    return folder(HOUSE, secrets) / f"objects-{user}"


def nats_config(secrets: Path = SECRETS) -> Path:
    """The server's configuration."""
    return folder(NATS, secrets) / "nats.conf"


def minio_env(secrets: Path = SECRETS) -> Path:
    """What the object store's server reads its administrator from."""
    return folder(MINIO, secrets) / "minio.env"
