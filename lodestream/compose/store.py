"""The object store of a stack in containers: bucket, users, and what each may do; the same again at every start."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.credentials import StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error
from minio.lifecycleconfig import AbortIncompleteMultipartUpload, LifecycleConfig, Rule
from minio.minioadmin import MinioAdmin
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError

from lodestream.errors import LodeError
from lodestream.node import Node
from lodestream.objects.s3 import REGION
from proto import keys
from proto.keys import BUCKET

TIMEOUT = Timeout(connect=2, read=10)
PATIENCE = 60.0
"""Seconds that the store may take to answer."""
UNFINISHED_DAYS = 1
"""Days after which an upload in parts is not going to be finished."""
SWEEPS_BY_ITSELF = "InvalidArgument"
"""So a MinIO server refuses the rule, for it removes such uploads by itself after a day."""
_READ = ["s3:GetObject"]
_WRITE = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]


def of_worker(node: Node) -> dict[str, Any]:
    """What workers of a type may do: its own memo, the attempts of what failed, and what its declaration names."""
    return policy((*node.reads, keys.TOMBSTONES), (*node.writes, keys.memos(node.type), keys.ATTEMPTS))


def of_catalog() -> dict[str, Any]:
    """Its snapshots, and nothing else."""
    return policy((), (keys.snapshot(""),))


def of_house() -> dict[str, Any]:
    """Everything in the bucket."""
    return policy((), ("",))


def of_prometheus() -> dict[str, Any]:
    """The server's figures, and no object."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["admin:Prometheus"]}]}


def policy(reads: Iterable[str], writes: Iterable[str]) -> dict[str, Any]:
    """What one user may do, by beginnings of keys: it may list and read what it may write, and remove that."""
    seen = sorted({*reads, *writes})
    listing = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{BUCKET}"],
        "Condition": {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in seen]}},
    }
    return {"Version": "2012-10-17", "Statement": [_allow(_READ, seen), _allow(_WRITE, sorted(writes)), listing]}


def _allow(actions: list[str], prefixes: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": [f"arn:aws:s3:::{BUCKET}/{p}*" for p in prefixes]}


def provision(
    address: str, root: tuple[str, str], users: Mapping[str, str], policies: Mapping[str, dict[str, Any]]
) -> None:
    """Make the bucket, and every user with its password and policy; `root` is the administrator and its password.

    Waits for the store. Raises LodeError where it does not answer, or refuses.
    """
    http = PoolManager(timeout=TIMEOUT, retries=False)
    client = Minio(address, *root, secure=False, region=REGION, http_client=http)
    admin = MinioAdmin(
        endpoint=address, credentials=StaticProvider(*root), region=REGION, secure=False, http_client=http
    )
    try:
        _wait(client)
        if not client.bucket_exists(BUCKET):
            client.make_bucket(BUCKET)
        _drop_unfinished(client)
        known = msgspec.json.decode(admin.user_list())
        for user, password in users.items():
            admin.policy_add(policy_name=user, policy=policies[user])
            admin.user_add(access_key=user, secret_key=password)
            if known.get(user, {}).get("policyName") != user:  # to attach it twice is refused
                admin.attach_policy(policies=[user], user=user)
    except (MinioException, MinioAdminException, HTTPError) as error:
        raise LodeError(f"the object store at {address} refuses: {error}") from None


def _drop_unfinished(client: Minio) -> None:
    """Have uploads removed that were cut short, unless the bucket has rules of its owner's. Raises MinioException."""
    if client.get_bucket_lifecycle(BUCKET):
        return
    cut_short = AbortIncompleteMultipartUpload(days_after_initiation=UNFINISHED_DAYS)
    rule = Rule(ENABLED, Filter(prefix=""), rule_id="unfinished", abort_incomplete_multipart_upload=cut_short)
    try:
        client.set_bucket_lifecycle(BUCKET, LifecycleConfig([rule]))
    except S3Error as error:
        if error.code != SWEEPS_BY_ITSELF:
            raise


def _wait(client: Minio) -> None:
    """Until it answers. Raises LodeError after a while."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            client.bucket_exists(BUCKET)
            return
        except HTTPError as error:
            if time.monotonic() > end:
                raise LodeError(f"the object store does not answer: {error}") from None
            time.sleep(0.5)
