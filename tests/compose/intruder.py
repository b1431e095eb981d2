"""Runs inside a service's container, as that service, and tries things; prints what came of each, as JSON.

Its argument: {"pub": [subject], "sub": [subject], "get": [key], "put": [key], "list": [prefix], "read": [path],
"bucket": [name], "admin": [""], "write": [path]}. What came of it: "done", or why not.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import nats
from minio import Minio
from minio.credentials import StaticProvider
from minio.error import MinioAdminException, S3Error
from minio.minioadmin import MinioAdmin

asked = json.loads(sys.argv[1])
parts = urlsplit(Path(os.environ["LODE_OBJECTS_FILE"]).read_text().strip())
where, bucket = f"{parts.hostname}:{parts.port}", parts.path.strip("/")
store = Minio(where, parts.username, parts.password, secure=False, region="us-east-1")


def put(key):
    """Store a byte, and take it away again."""
    from io import BytesIO

    store.put_object(bucket, key, BytesIO(b"x"), 1)
    store.remove_object(bucket, key)


def admin(_):
    """Ask as the store's administrator would."""
    who = StaticProvider(parts.username, parts.password)
    MinioAdmin(endpoint=where, credentials=who, region="us-east-1", secure=False).user_list()


DEEDS = {
    "get": lambda key: store.get_object(bucket, key).read(),
    "put": put,
    "list": lambda prefix: [*store.list_objects(bucket, prefix, recursive=True)],
    "bucket": lambda name: [*store.list_objects(name)],
    "makebucket": store.make_bucket,
    "admin": admin,
    "read": lambda path: Path(path).read_bytes(),
    "ls": lambda path: [*Path(path).iterdir()],
    "write": lambda path: Path(path).write_text("x"),
}


def attempt(verb, what):
    """One deed."""
    try:
        DEEDS[verb](what)
    except (S3Error, MinioAdminException) as error:
        return getattr(error, "code", None) or "AccessDenied" * ("AccessDenied" in str(error)) or str(error)
    except OSError as error:
        return type(error).__name__
    return "done"


async def on_nats():
    """What the server lets this user publish and subscribe to."""
    told = []

    async def note(error):
        told.append(str(error).lower())

    user, password = os.environ["LODE_NATS_USER"], Path(os.environ["LODE_NATS_PASSWORD_FILE"]).read_text().strip()
    inbox = f"_INBOX_{user}"
    nc = await nats.connect(
        os.environ["LODE_NATS_URL"], user=user, password=password, inbox_prefix=inbox, error_cb=note
    )
    found = {}
    for verb in ("pub", "sub"):
        for subject in asked.get(verb, []):
            told.clear()
            await (nc.publish(subject, b"") if verb == "pub" else nc.subscribe(subject))
            await nc.flush()
            await nc.flush()
            refused = any("permissions violation" in said for said in told)
            found[f"{verb} {subject}"] = "refused" if refused else "done"
    await nc.close()
    return found


result = {f"{verb} {what}": attempt(verb, what) for verb in DEEDS for what in asked.get(verb, [])}
print(json.dumps(result | asyncio.run(on_nats())))
