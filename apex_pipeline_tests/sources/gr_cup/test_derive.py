"""A session's telemetry is converted directly from a local store or a bucket, compressed or not."""

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from apex_pipeline.errors import ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.raw_files import raw_file_opener
from apex_pipeline.sources.base import FileIdentity
from apex_pipeline.sources.gr_cup.derive import derive_telemetry, telemetry_bytes
from apex_pipeline.sources.gr_cup.telemetry.report import TelemetryReport
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import LAPS
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import KEY, NAME, csv_bytes, reading, write_file
from apex_pipeline_tests.storage.s3.harness import connect, store_of

CONTENT = csv_bytes([reading(second / 25, channel="odometer", value=str(second)) for second in range(3_000)])


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalStore(tmp_path / "lake", DigestCache())
    bucket: S3Bucket = request.getfixturevalue("s3_bucket")
    return store_of(connect(bucket))


def put(store: ObjectStore, folder: Path, content: bytes, name: str = NAME) -> FileIdentity:
    store.write_bytes(raw_key(name), content)
    return write_file(folder, content, name).identity


def convert(store: ObjectStore, folder: Path, *files: FileIdentity) -> TelemetryReport:
    workspace = Workspace(1_000_000_000, folder / "scratch")
    return derive_telemetry(KEY, files, raw_file_opener(store), LAPS.empty(), folder / "out.parquet", workspace)


@pytest.mark.parametrize("name", [NAME, f"{NAME}.gz"])
def test_telemetry_is_read_directly_from_the_store(store: ObjectStore, tmp_path: Path, name: str) -> None:
    content = gzip.compress(CONTENT, mtime=0) if name.endswith(".gz") else CONTENT
    file = put(store, tmp_path, content, name)

    report = convert(store, tmp_path, file)

    assert report.counts.cells_out == 3_000
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 3_000
    assert telemetry_bytes([file]) == len(content)
    # No temporary files remain, such as a copy of the raw file.
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_file_missing_from_the_store_is_reported(store: ObjectStore, tmp_path: Path) -> None:
    file = put(store, tmp_path, CONTENT)
    store.delete(raw_key(NAME))

    with pytest.raises(ObjectMissingError, match=NAME):
        convert(store, tmp_path, file)


def test_a_file_damaged_in_the_bucket_gives_no_table(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    connection = connect(s3_bucket)
    store = store_of(connection)
    file = put(store, tmp_path, CONTENT)
    recorded = store.head(raw_key(NAME))
    assert recorded
    damaged = CONTENT.replace(b",2999,", b",2998,")
    connection.client.put_object(
        Bucket=connection.bucket, Key=raw_key(NAME), Body=damaged, Metadata={"sha256": recorded.sha256 or ""}
    )

    with pytest.raises(StoreCorruptionError, match="damaged"):
        convert(store, tmp_path, file)

    assert not (tmp_path / "out.parquet").exists()
