"""A source in a bucket: what is listed, what is copied, and what is not read again.

Run against a folder and a real S3 server as the bucket, because any store can be the source.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from apex_pipeline.errors import ConfigurationError, FileChangedError, SourceError, TransientError
from apex_pipeline.ingest import source_bucket
from apex_pipeline.ingest.copy import copy_source_files
from apex_pipeline.ingest.discover import Discovery, discover
from apex_pipeline.ingest.source_bucket import list_bucket, scan_source_bucket
from apex_pipeline.ingest.source_files import SourceListing
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import Inspect, ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_source
from apex_pipeline.storage.forwarding import ForwardingStore
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.ingest.lake_in_step import LakeInStep, lap_csv
from apex_pipeline_tests.servers.s3_server import S3Bucket

_R1, _R2 = "spa/R1/R1_spa_lap_start.csv", "spa/R2/R2_spa_lap_start.csv"


class _Spied(ForwardingStore):
    """A store that notes which objects are read as a whole."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.read: list[str] = []

    def open_stream(self, key: str, inspect: Inspect | None = None) -> AbstractContextManager[BinaryIO]:
        self.read.append(key)
        return super().open_stream(key, inspect)


class _Race:
    """A lake whose source is a bucket.

    Args:
        bucket: The source.
        folder: Folder of the lake and of temporary files.
    """

    def __init__(self, bucket: _Spied, folder: Path) -> None:
        self.bucket = bucket
        lake = LocalStore(folder / "lake", DigestCache())
        lake.prepare_for_writing()
        self.scratch = folder / "fetched"
        self.steps = LakeInStep(folder / "unused", lake)

    @property
    def read(self) -> list[str]:
        """The objects that were read as a whole."""
        return self.bucket.read

    def write(self, path: str, content: str) -> None:
        self.bucket.write_bytes(path, content.encode())

    @property
    def listing(self) -> SourceListing:
        return list_bucket(self.bucket, self.scratch)

    def look(self) -> Discovery:
        return discover(self.steps.store, self.steps.settings, self.listing, self.steps.digest_cache)

    def sync(self) -> Discovery:
        found = self.look()
        self.steps.apply(found)
        return found

    def on_another_machine(self) -> None:
        """Forget what this machine has cached."""
        self.steps.digest_cache = DigestCache()


@pytest.fixture(params=["folder", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    if request.param == "folder":
        store = LocalStore(tmp_path / "bucket", DigestCache())
        store.prepare_for_writing()
        return store
    s3: S3Bucket = request.getfixturevalue("s3_bucket")
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    uri = f"s3://{s3.name}/incoming"
    monkeypatch.setenv("APEX_LAKE_PREFIX", "lake")
    return open_source(uri, load_settings(source_uri=uri, state_dir=tmp_path / "state"))


@pytest.fixture
def race(bucket: ObjectStore, tmp_path: Path) -> Iterator[_Race]:
    race = _Race(_Spied(bucket), tmp_path)
    race.write(_R1, lap_csv("R1"))
    race.write(_R2, lap_csv("R2", lap=22))
    yield race
    assert not list(race.scratch.glob("process-*/fetched-*"))


def test_files_are_copied_once_with_their_digests_and_paths(race: _Race) -> None:
    assert race.sync().copies.file_count == 2
    assert sorted(race.read) == [_R1, _R2]
    assert race.steps.store.read_bytes(raw_key(_R1)) == lap_csv("R1").encode()
    rows = race.steps.rows()
    assert {path: (row["status"], row["source_version"]) for path, row in rows.items()} == {
        file.path: ("ready", file.version) for file in race.listing.files
    }
    assert race.look().is_unchanged


def test_another_machine_reads_no_object_again_to_see_that_nothing_changed(race: _Race) -> None:
    race.sync()
    race.read.clear()
    race.on_another_machine()
    assert race.look().is_unchanged
    assert race.read == []


def test_one_changed_byte_is_copied_and_nothing_else(race: _Race) -> None:
    race.sync()
    race.read.clear()
    race.write(_R1, lap_csv("R1", lap=2))
    found = race.sync()
    assert [file.path for file in found.copies.files] == [_R1]
    assert race.read == [_R1]
    assert race.steps.store.read_bytes(raw_key(_R1)) == lap_csv("R1", lap=2).encode()
    assert race.look().is_unchanged


def test_the_same_bytes_uploaded_again_change_no_object_of_the_lake(race: _Race) -> None:
    race.sync()
    before = race.steps.store.head(raw_key(_R1))
    race.on_another_machine()
    race.bucket.delete(_R1)
    race.write(_R1, lap_csv("R1"))
    race.sync()
    assert race.steps.store.head(raw_key(_R1)) == before
    assert race.look().is_unchanged


def test_a_lake_filled_from_a_folder_takes_the_bucket_over_without_writing_a_raw_file(race: _Race) -> None:
    for path, content in ((_R1, lap_csv("R1")), (_R2, lap_csv("R2", lap=22))):
        race.steps.write(path, content)
    race.steps.sync()
    before = {item.key: item.tag for item in race.steps.store.list("data/")}
    race.sync()
    assert {item.key: item.tag for item in race.steps.store.list("data/")} == before
    assert race.look().is_unchanged


def test_a_file_that_left_the_bucket_stays_in_the_lake(race: _Race) -> None:
    race.sync()
    race.bucket.delete(_R2)
    race.sync()
    assert race.steps.store.head(raw_key(_R2)) is not None


def test_two_objects_of_the_same_bytes_are_one_file_and_a_copy(race: _Race) -> None:
    race.write(f"backup/{_R1}", lap_csv("R1"))
    race.sync()
    assert sorted(row["status"] for row in race.steps.rows().values()) == ["ignored", "ready", "ready"]


def test_an_object_replaced_after_the_listing_is_not_copied_and_the_next_sync_is_right(race: _Race) -> None:
    found = race.look()
    race.write(_R1, lap_csv("R1", lap=33))
    listed = next(file for file in found.copies.files if file.path == _R1)
    with pytest.raises(FileChangedError, match="replaced after the source was listed"):
        listed.sha256(DigestCache())
    with pytest.raises(TransientError, match="1 of 1 files were not copied"):
        copy_source_files(race.steps.store, [listed], DigestCache())
    assert race.steps.store.head(raw_key(_R1)) is None
    race.sync()
    assert race.steps.store.read_bytes(raw_key(_R1)) == lap_csv("R1", lap=33).encode()


def test_an_object_deleted_after_the_listing_is_named(race: _Race) -> None:
    file = race.listing.files[0]
    race.bucket.delete(file.path)
    with pytest.raises(FileChangedError, match=r"R1_spa_lap_start\.csv was deleted after the source was listed"):
        file.read_head(100)
    with pytest.raises(FileChangedError, match="deleted"):
        file.sha256(DigestCache())


@pytest.mark.parametrize("marker", ["old", "spa/R9", "zandvoort"])
def test_a_lake_below_the_source_is_refused_by_name_and_counted_whenever_its_pointer_comes(
    race: _Race, marker: str
) -> None:
    for key in (CURRENT_SNAPSHOT_KEY, "data/x.csv", "data/inner/catalog/current.json", "a.csv"):
        race.write(f"{marker}/{key}", "{}")
    found = race.listing
    assert {file.path for file in found.files} == {_R1, _R2}
    assert found.refused == ((marker, "it is a lake (4 objects); set APEX_SOURCE_URI to a prefix beside it"),)
    assert found.skipped == ()


class _Foreign(ForwardingStore):
    """A store that also lists empty objects with these names, which S3 allows."""

    def __init__(self, inner: ObjectStore, names: list[str]) -> None:
        super().__init__(inner)
        self._names = names

    def list_unchecked(self, prefix: str = "") -> Iterator[ObjectInfo]:
        yield from (ObjectInfo(name, 1, datetime(2026, 1, 1, tzinfo=UTC), "tag") for name in self._names)
        yield from super().list_unchecked(prefix)


_ILLEGAL = {
    "a//b.csv": "it contains an empty segment",
    "up/../b.csv": "it contains a '.' or '..' segment",
    "back\\slash.csv": "it contains a backslash",
    "bell\\x07.csv": "it contains a control character",
    "folder/": "it contains an empty segment",
    "d" * 1020: "it has 1025 bytes, at most 1024 are allowed",
}


def test_every_object_is_a_file_of_the_source_or_refused_with_the_reason(race: _Race) -> None:
    names = [name.replace("\\x07", "\x07") for name in _ILLEGAL]
    found = list_bucket(_Foreign(race.bucket, names), race.scratch)
    assert {file.path for file in found.files} == {_R1, _R2}
    assert len(found.refused) == len(names)
    assert all(reason in dict(found.refused)[name] for name, reason in _ILLEGAL.items())


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_real_listing_shows_an_illegal_name_and_no_folder_marker(s3_bucket: S3Bucket, race: _Race) -> None:
    for key, body in (("incoming/next\x85line.csv", b"x"), ("incoming/spa/", b"")):
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=body)
    assert [path for path, _ in race.listing.refused] == ["next\\x85line.csv"]


def test_a_source_with_more_objects_than_fit_in_memory_is_refused_before_they_are_all_listed(
    race: _Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_bucket, "_MOST_OBJECTS", 2)
    assert len(race.listing.files) == 2
    race.write("spa/R3/third.csv", "x")
    with pytest.raises(SourceError, match=r"more than 2 objects.*APEX_SOURCE_URI"):
        _ = race.listing


class _Renamed(ForwardingStore):
    """A store whose one object can be read by every key."""

    def open_stream(self, key: str, inspect: Inspect | None = None) -> AbstractContextManager[BinaryIO]:
        return super().open_stream(_R1, inspect)


def test_an_object_whose_name_is_too_long_for_a_file_is_fetched(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "bucket", DigestCache())
    store.prepare_for_writing()
    written = store.write_bytes(_R1, b"content")
    key = f"spa/{'x' * 300}.csv"
    item = source_bucket.SourceObject(key, written.size, 0, written.tag, _Renamed(store), tmp_path / "fetched")
    fetch = item.copy_item(raw_key(key), DigestCache()).fetch
    assert fetch is not None
    with fetch(lambda _: None) as file:
        assert file.path.read_bytes() == b"content"


def test_an_empty_bucket_is_refused(bucket: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is empty"):
        list_bucket(bucket, tmp_path)


@pytest.mark.parametrize("uri", ["", "bucket/prefix", "s3://", "s3:///prefix", "https://bucket", "s3://bucket/../up"])
def test_what_is_not_a_bucket_is_refused_with_the_name_of_the_setting(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="APEX_SOURCE_URI"):
        scan_source_bucket(load_settings(source_uri=uri))


@pytest.mark.parametrize(
    ("source", "prefix"),
    [("s3://races", ""), ("s3://races/incoming", ""), ("s3://races/lake", "lake"), ("s3://races/lake/data", "lake")],
)
def test_a_source_that_is_the_lake_or_lies_in_it_is_refused(source: str, prefix: str) -> None:
    settings = load_settings(use_s3_data=True, bucket="races", lake_prefix=prefix, source_uri=source)
    with pytest.raises(ConfigurationError, match=r"is the lake .*, or lies in it"):
        scan_source_bucket(settings)


@pytest.mark.parametrize(("source", "prefix"), [("s3://races", "lake"), ("s3://races/all", "all/lake")])
def test_a_source_in_which_the_lake_lies_is_refused_with_the_settings_to_change(source: str, prefix: str) -> None:
    settings = load_settings(use_s3_data=True, bucket="races", lake_prefix=prefix, source_uri=source)
    with pytest.raises(ConfigurationError, match=f"The lake s3://races/{prefix} lies in the source {source}") as caught:
        scan_source_bucket(settings)
    assert all(name in str(caught.value) for name in ("APEX_SOURCE_URI", "S3_BUCKET_NAME", "APEX_LAKE_PREFIX"))


def test_a_bucket_that_does_not_exist_is_an_error_of_the_source(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    values = {name.lower(): value for name, value in s3_bucket.environment.items()}
    settings = load_settings(
        use_s3_data=True,
        bucket=s3_bucket.name,
        s3_endpoint_url=values["s3_endpoint_url"],
        aws_access_key_id=values["aws_access_key_id"],
        aws_secret_access_key=values["aws_secret_access_key"],
        source_uri="s3://no-such-bucket-of-races",
        state_dir=tmp_path,
    )
    with pytest.raises(SourceError, match=r"s3://no-such-bucket-of-races cannot be listed") as caught:
        scan_source_bucket(settings)
    assert values["aws_secret_access_key"] not in str(caught.value)
