"""Reading one lap of one car takes few bytes, counted at the file or the S3 response."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.catalog.race_lake import CAR, FOUR_CHANNELS, SESSION, TRACK, Race, publish_race
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.storage.cache_harness import cached_store
from apex_pipeline_tests.storage.s3.harness import connect, store_of

# An eighth of a real race; the file has 5 MB. In larger files the footer takes a smaller share.
_ROWS = 5_000


class _CountedFile(io.FileIO):
    """An unbuffered file that records the size of every read."""

    def __init__(self, path: str, counted: list[int]) -> None:
        super().__init__(path, "rb")
        self._counted = counted

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(-1 if size is None else size) or b""
        self._counted.append(len(content))
        return content


class _CountingStore(LocalStore):
    """A local lake that records the size of every read of an opened object."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, DigestCache())
        self.counted: list[int] = []

    @contextmanager
    def open_seekable(self, key: str) -> Generator[BinaryIO]:
        with super().open_seekable(key), _CountedFile(self.uri_of(key), self.counted) as file:
            yield cast("BinaryIO", file)


@pytest.fixture
def local(tmp_path: Path) -> tuple[Race, list[int]]:
    store = _CountingStore(tmp_path / "lake")
    store.prepare_for_writing()
    return publish_race(store, _ROWS), store.counted


@pytest.fixture
def s3(s3_bucket: S3Bucket) -> tuple[Race, list[int]]:
    connection = connect(s3_bucket)
    counted: list[int] = []

    def count(parsed: dict[str, Any], **_: object) -> None:
        counted.append(parsed.get("ContentLength", 0))

    connection.client.meta.events.register("after-call.s3.GetObject", count)
    return publish_race(store_of(connection), _ROWS), counted


@pytest.fixture(params=["local", "s3"])
def counted_race(request: pytest.FixtureRequest) -> tuple[Race, list[int]]:
    """Return a race in each kind of lake, and the sizes of all reads from it."""
    return request.getfixturevalue(request.param)


def _lap(catalog: Catalog, lap_number: int = 2) -> int:
    samples = catalog.telemetry(TRACK, SESSION, vehicle_id=CAR, lap_number=lap_number, channels=FOUR_CHANNELS)
    return len(samples)


@pytest.mark.req("A-136", "K-15")
def test_one_lap_of_four_channels_reads_less_than_a_twentieth_of_the_file(
    counted_race: tuple[Race, list[int]],
) -> None:
    race, counted = counted_race
    catalog = race.catalog
    catalog.laps(TRACK, SESSION)
    counted.clear()
    assert _lap(catalog) > 900
    # The first read includes the footer, and in a bucket the small table of laps.
    assert sum(counted) < 0.05 * len(race.telemetry)
    counted.clear()
    assert _lap(catalog, lap_number=3) > 900
    assert 0 < sum(counted) < 0.05 * len(race.telemetry)
    assert len(counted) <= 6


@pytest.mark.parametrize("has_cache", [False, True])
def test_another_lap_of_a_session_in_a_bucket_takes_three_requests_at_most(
    s3_bucket: S3Bucket, tmp_path: Path, *, has_cache: bool
) -> None:
    store = store_of(connect(s3_bucket))
    publish_race(store, _ROWS)
    # Smaller than the file, which is therefore read in ranges.
    catalog = Catalog(cached_store(store, tmp_path, max_bytes=1_000_000) if has_cache else store)
    assert _lap(catalog) > 900
    before = store.request_stats
    assert _lap(catalog, lap_number=3) > 900
    assert store.request_stats.since(before).requests <= 3


def test_a_lap_is_read_from_where_the_file_is_now(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    race = publish_race(store, _ROWS)
    catalog = Catalog(store)
    expected = _lap(catalog)
    record = next(iter(catalog.snapshot.sessions)).tables["telemetry"]
    store.write_bytes(record.key, race.telemetry)
    store.delete(object_key(record.sha256))
    assert _lap(catalog) == expected
    store.delete(record.key)
    with pytest.raises(ObjectMissingError, match="missing or damaged"):
        _lap(catalog)


def test_an_object_that_is_restored_while_it_is_read_is_read_again(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(connect(s3_bucket))
    race = publish_race(store, _ROWS)
    catalog = race.catalog
    before = _lap(catalog)
    open_seekable = store.open_seekable

    @contextmanager
    def restore_while_open(key: str) -> Generator[BinaryIO]:
        monkeypatch.setattr(store, "open_seekable", open_seekable)
        # Longer than the other object, so that the version that was opened is gone.
        store.write_bytes(key, race.telemetry + b"damaged")
        with open_seekable(key) as stream:
            store.write_bytes(key, race.telemetry)
            yield stream

    monkeypatch.setattr(store, "open_seekable", restore_while_open)
    assert _lap(catalog) == before
