"""Contains the stores under test, each with direct access to its folder or bucket.

All differences between the stores are here; the contract itself is in the test modules of this folder.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import INCOMING
from apex_pipeline.storage.lake_lock import LOCK_NAME
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.s3_server import S3Bucket

CONTENT = b"lap,time\n1,97.428\n"
# Larger than one part of a multipart upload, and not a multiple of it.
LARGE = np.random.default_rng(7).bytes(17_000_003)


@dataclass(frozen=True)
class StoreHarness:
    """A store under test, with direct access to its contents.

    Attributes:
        store: The store.
        damage: Changes one byte of an object, bypassing the store.
        visible: Returns the keys that other clients see.
        abandon: Leaves the store as if a process was killed while writing an object.
        names_are_files: Whether ``d`` and ``d/e`` cannot both exist, as on a disk and on the old server, which stores
            each object as a file of the same name.
        environment: Variables with which another process opens the same store.
        has_conditions: Whether conditional writes are atomic; the old server ignores the condition.
    """

    store: ObjectStore
    damage: Callable[[str], None]
    visible: Callable[[], list[str]]
    abandon: Callable[[str], None]
    names_are_files: bool
    environment: Mapping[str, str] = field(default_factory=dict)
    has_conditions: bool = True


def local_harness(tmp_path: Path) -> StoreHarness:
    root = tmp_path / "lake"
    store = LocalStore(root, DigestCache())
    store.prepare_for_writing()

    def damage(key: str) -> None:
        path = root / key
        before = path.stat()
        content = bytearray(path.read_bytes())
        content[0] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def visible() -> list[str]:
        found = (path for path in root.rglob("*") if path.is_file() and path.name != LOCK_NAME)
        return sorted(path.relative_to(root).as_posix() for path in found)

    def abandon(_: str) -> None:
        (root / INCOMING / "some-host.1.0123456789abcdef").write_bytes(CONTENT)

    environment = {"APEX_LAKE_DIR": str(root), "APEX_STATE_DIR": str(tmp_path / "state")}
    return StoreHarness(store, damage, visible, abandon, names_are_files=True, environment=environment)


def s3_harness(bucket: S3Bucket, tmp_path: Path, *, names_are_files: bool, is_direct: bool = True) -> StoreHarness:
    server = bucket.server
    connection = S3Connection(
        bucket.name,
        "us-east-1",
        server.endpoint,
        server.access_key_id,
        server.secret_access_key,
        is_direct=is_direct,
    )
    store = S3Store(connection, "lakes/one", DigestCache(), state=tmp_path / "state", sleep=lambda _: None)

    def damage(key: str) -> None:
        full = f"lakes/one/{key}"
        content = bytearray(bucket.client.get_object(Bucket=bucket.name, Key=full)["Body"].read())
        metadata = bucket.client.head_object(Bucket=bucket.name, Key=full)["Metadata"]
        content[0] ^= 1
        bucket.client.put_object(Bucket=bucket.name, Key=full, Body=bytes(content), Metadata=metadata)

    def abandon(key: str) -> None:
        full = f"lakes/one/{key}"
        upload_id = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=full)["UploadId"]
        bucket.client.upload_part(Bucket=bucket.name, Key=full, UploadId=upload_id, PartNumber=1, Body=CONTENT)

    def visible() -> list[str]:
        return [key.removeprefix("lakes/one/") for key in bucket.object_keys()]

    environment = {**bucket.environment, "APEX_LAKE_PREFIX": "lakes/one", "APEX_STATE_DIR": str(tmp_path / "state")}
    return StoreHarness(
        store, damage, visible, abandon, names_are_files, environment, has_conditions=not names_are_files
    )


def write_source(folder: Path, content: bytes = CONTENT) -> Path:
    """Write a new file with this content and return its path."""
    path = folder / "source.csv"
    path.write_bytes(content)
    return path
