"""Loaders on errors: nothing is raised, and the log has the right level, the reason and no secret."""

import gzip
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apex_pipeline.catalog import DataLoader, LocalDataLoader, Reason, S3DataLoader
from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    FileChangedError,
    MalformedFileError,
    ObjectMissingError,
    StorageFullError,
    StoreAuthError,
    StoreConfigError,
    StoreCorruptionError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.catalog.loaders.harness import (
    LAP_TABLE,
    PRACTICE,
    LoaderHarness,
    download,
    local_harness,
    log_of,
    messages,
    raw_laps,
    raw_telemetry,
    settings_for,
    settings_of,
)
from apex_pipeline_tests.servers.seaweed import S3Bucket

BARBER = "barber_motorsports_park"
CALLS: dict[str, Callable[[DataLoader], object]] = {
    "tracks": lambda loader: loader.get_available_tracks(),
    "sessions": lambda loader: loader.get_available_sessions(BARBER),
    "laps": lambda loader: loader.load_lap_times(BARBER, "practice"),
    "telemetry": lambda loader: loader.load_telemetry(BARBER, "practice"),
    "download": lambda loader: download(loader, PRACTICE),
}


class RefusingStore(LocalStore):
    """A local lake in which the given operations fail."""

    def __init__(self, folder: Path, error: ApexError, operations: tuple[str, ...]) -> None:
        super().__init__(folder, DigestCache())
        self._error = error
        self._operations = operations

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self._refuse("list")
        return super().list(prefix)

    def head(self, key: str) -> ObjectInfo | None:
        self._refuse("head")
        return super().head(key)

    def read_bytes(self, key: str) -> bytes:
        self._refuse("read")
        return super().read_bytes(key)

    def _refuse(self, operation: str) -> None:
        if operation in self._operations:
            raise self._error


def refusing(folder: Path, error: ApexError, *operations: str) -> S3DataLoader:
    """Return a loader for a lake with one lap file, in which the given operations fail."""
    local_harness(folder).put({PRACTICE: LAP_TABLE})
    return S3DataLoader(settings_for(folder), RefusingStore(folder / "lake", error, operations))


# -- the store ---------------------------------------------------------------------------------------------------------


@pytest.mark.req("A-013", "A-032", "A-071", "A-072", "A-074", "K-02")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("type_", "reason"),
    [
        (StoreAuthError, Reason.CREDENTIALS),
        (StoreConfigError, Reason.CONFIGURATION),
        (StoreUnavailableError, Reason.UNAVAILABLE),
        (FileChangedError, Reason.UNAVAILABLE),
        (StoreCorruptionError, Reason.DAMAGED),
        (StorageFullError, Reason.FAILED),
        (ConfigurationError, Reason.CONFIGURATION),
    ],
)
def test_every_store_error_gives_no_result_and_its_reason(
    tmp_path: Path, call: str, type_: type[ApexError], reason: Reason
) -> None:
    loader = refusing(tmp_path, type_("Listing s3://bucket failed.", "Do this next."), "list", "read")
    with log_of(logging.WARNING) as records:
        assert not CALLS[call](loader)
    assert [(record.levelno, record.getMessage()) for record in records] == [
        (logging.ERROR, "Listing s3://bucket failed. Do this next.")
    ]
    assert loader.last_failure
    assert loader.last_failure.reason is reason


@pytest.mark.req("A-071", "A-083", "A-067")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("wrong", "reason", "expected"),
    [
        ({"aws_secret_access_key": "not-the-secret"}, Reason.CREDENTIALS, "the secret does not belong to the access"),
        ({"aws_access_key_id": "nobody"}, Reason.CREDENTIALS, "does not know the access key"),
        ({"bucket": "no-such-bucket"}, Reason.CONFIGURATION, "there is no such bucket"),
        ({"aws_secret_access_key": None}, Reason.CONFIGURATION, "AWS_SECRET_ACCESS_KEY is not set"),
    ],
)
def test_a_refusal_by_a_real_store_is_logged_with_bucket_source_and_next_step(
    s3_bucket: S3Bucket, tmp_path: Path, call: str, wrong: dict[str, object], reason: Reason, expected: str
) -> None:
    loader = S3DataLoader(settings_of(s3_bucket, tmp_path, **wrong))
    with log_of(logging.WARNING) as records:
        assert not CALLS[call](loader)
    assert [record.levelno for record in records] == [logging.ERROR]
    message = messages(records)[0]
    assert expected in message
    assert loader.last_failure
    assert loader.last_failure.reason is reason
    assert s3_bucket.server.secret_access_key not in message
    assert "not-the-secret" not in message
    if "is not set" not in expected:
        assert str(wrong.get("bucket", s3_bucket.name)) in message
        assert "Credentials: from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message
        assert "Check " in message


@pytest.mark.req("A-074")
def test_an_unreachable_store_is_logged_with_the_hint_to_run_it_again(
    s3_bucket: S3Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.storage.s3.client._ATTEMPTS", 1)
    loader = S3DataLoader(settings_of(s3_bucket, tmp_path, s3_endpoint_url="http://127.0.0.1:9"))
    with log_of(logging.WARNING) as records:
        assert loader.load_lap_times(BARBER, "practice") is None
    assert "run it again" in messages(records, logging.ERROR)[0]


@pytest.mark.req("A-063", "A-073")
@pytest.mark.parametrize("call", ["laps", "telemetry", "download"])
def test_without_the_right_to_list_a_missing_file_is_missing_or_forbidden(tmp_path: Path, call: str) -> None:
    forbidden = StorePermissionError("Listing s3://bucket failed: these credentials may not do this.", "Grant it.")
    loader = S3DataLoader(settings_for(tmp_path), RefusingStore(tmp_path, forbidden, ("list", "head", "read")))
    with log_of(logging.WARNING) as records:
        assert CALLS[call](loader) is None
    assert [record.levelno for record in records] == [logging.WARNING]
    assert loader.last_failure
    assert loader.last_failure.reason is Reason.NOT_FOUND_OR_FORBIDDEN


@pytest.mark.req("A-063")
@pytest.mark.parametrize("content", [LAP_TABLE, raw_laps(2)], ids=["table", "raw"])
def test_without_the_right_to_list_an_existing_file_is_loaded(tmp_path: Path, content: bytes) -> None:
    forbidden = StorePermissionError("Listing failed.", "Grant it.")
    local_harness(tmp_path).put({"data/sebring/race_lap_start.csv": content})
    loader = S3DataLoader(settings_for(tmp_path), RefusingStore(tmp_path / "lake", forbidden, ("list",)))
    laps = loader.load_lap_times("sebring", "race")
    assert laps is not None
    assert len(laps) == 2


def test_a_file_that_may_be_listed_but_not_read_is_an_error(tmp_path: Path) -> None:
    forbidden = StorePermissionError("Reading failed.", "Grant it.")
    loader = refusing(tmp_path, forbidden, "read")
    for call in ("laps", "download"):
        with log_of(logging.WARNING) as records:
            assert CALLS[call](loader) is None
        assert [record.levelno for record in records] == [logging.ERROR]
        assert loader.last_failure
        assert loader.last_failure.reason is Reason.PERMISSION


def test_a_missing_lake_is_an_error_and_an_empty_lake_is_not(tmp_path: Path) -> None:
    loader = LocalDataLoader(settings_for(tmp_path))
    with log_of() as records:
        assert loader.get_available_tracks() == []
    assert "There is no lake at" in messages(records, logging.ERROR)[0]
    (tmp_path / "lake").mkdir()
    with log_of(logging.WARNING) as records:
        assert loader.get_available_tracks() == []
    assert records == []


def test_an_unsafe_key_is_refused_without_raising(tmp_path: Path) -> None:
    loader = local_harness(tmp_path).loader
    (tmp_path / "secret.csv").write_bytes(LAP_TABLE)
    for name in ("data/../../secret.csv", "/etc/passwd", ""):
        assert download(loader, name) is None
        assert loader.last_failure
        assert loader.last_failure.reason is Reason.FAILED
    assert loader.load_lap_times("..", "x") is None


# -- the files ---------------------------------------------------------------------------------------------------------


@pytest.mark.req("A-073")
def test_a_missing_file_is_a_warning_with_tried_names_and_existing_sessions(harness: LoaderHarness) -> None:
    harness.put({PRACTICE: LAP_TABLE})
    with log_of(logging.WARNING) as records:
        assert harness.loader.load_lap_times(BARBER, "race") is None
    assert [record.levelno for record in records] == [logging.WARNING]
    assert "tried race_barber_motorsports_park_lap_start.csv, race_barber-motorsports-park" in messages(records)[0]
    assert "has lap files of: practice" in messages(records)[0]
    assert harness.loader.last_failure
    assert isinstance(harness.loader.last_failure.error, ObjectMissingError)
    assert harness.loader.last_failure.reason is Reason.NOT_FOUND


@pytest.mark.req("A-075")
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"LapNumber,LapTime\n1,97.4\n2,96.5,9,9,9\n", "line 3"),
        (b"LapNumber,LapTime\n1,97.4\n2,fast\n", "LapTime of line 3: 'fast'"),
        (b"LapNumber,LapTime\n1.5,97.4\n", "no whole number in LapNumber of line 2"),
        (b"LapNumber,LapTime\n1,97.4,5\n2,98.1,6\n", "more cells"),
        (b"LapNumber,LapTime\n" + b"1" * 200_000 + b",2\n", "line 2: field larger"),
        (b"PK\x03\x04 LapNumber,LapTime\n", "zip archive"),
        (raw_laps(2, "R2"), "is set aside: meta_session says R2"),
    ],
)
def test_a_malformed_file_is_logged_with_its_name_and_position(
    harness: LoaderHarness, content: bytes, expected: str
) -> None:
    key = "data/barber/R1_barber_lap_start.csv"
    harness.put({key: content})
    with log_of(logging.WARNING) as records:
        assert harness.loader.load_lap_times("barber", "R1") is None
    assert [record.levelno for record in records] == [logging.ERROR]
    assert expected in messages(records)[0]
    assert "R1_barber_lap_start.csv" in messages(records)[0]
    assert harness.loader.last_failure
    assert harness.loader.last_failure.reason is Reason.MALFORMED
    assert isinstance(harness.loader.last_failure.error, MalformedFileError)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_file_that_is_not_compressed_as_its_name_indicates_is_malformed(tmp_path: Path, ending: str) -> None:
    harness = local_harness(tmp_path)
    harness.put({f"{PRACTICE}{ending}": LAP_TABLE})
    assert harness.loader.load_lap_times(BARBER, "practice") is None
    assert harness.loader.last_failure
    assert harness.loader.last_failure.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("R1_barber_lap_start.csv.gz", gzip.compress(raw_laps(), mtime=0)[:-9]),
        ("R1_barber_lap_start.csv", raw_laps() + b"x" * 1_000_001),
    ],
    ids=["truncated archive", "endless line"],
)
def test_the_only_lap_file_of_a_session_is_malformed_if_it_cannot_be_read_to_its_end(
    harness: LoaderHarness, name: str, content: bytes
) -> None:
    harness.put({f"data/barber/{name}": content, "data/barber/R1_barber_telemetry_data.csv": raw_telemetry()})
    assert harness.loader.load_lap_times("barber", "R1") is None
    assert harness.loader.last_failure
    assert harness.loader.last_failure.reason is Reason.MALFORMED
    assert name in str(harness.loader.last_failure.error)
    assert harness.loader.load_telemetry("barber", "R1") is not None


def test_a_lap_file_that_is_left_out_is_logged_and_the_others_give_the_laps(harness: LoaderHarness) -> None:
    damaged = gzip.compress(raw_laps(), mtime=0)[:-9]
    harness.put({"data/barber/R1_barber_lap_start.csv.gz": damaged, "data/barber/R1_barber_lap_end.csv": raw_laps()})
    with log_of(logging.WARNING) as records:
        laps = harness.loader.load_lap_times("barber", "R1")
    assert laps is not None
    assert len(laps) == 4
    assert any("R1_barber_lap_start.csv.gz is left out" in message for message in messages(records, logging.WARNING))


def test_a_table_that_unpacks_to_more_than_the_limit_is_malformed(tmp_path: Path) -> None:
    local_harness(tmp_path).put({f"{PRACTICE}.gz": gzip.compress(LAP_TABLE + b"\n" * 2_000_000, mtime=0)})
    loader = LocalDataLoader(settings_for(tmp_path, max_lap_file_size=1_000_000))
    assert loader.load_lap_times(BARBER, "practice") is None
    assert loader.last_failure
    assert loader.last_failure.reason is Reason.MALFORMED
    assert "APEX_MAX_LAP_FILE_SIZE" in str(loader.last_failure.error)


@pytest.mark.req("A-076", "K-03")
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\r\n", raw_laps(0).split(b"\n")[0] + b"\n"])
def test_an_empty_file_gives_an_empty_frame_with_all_columns_and_a_warning(
    harness: LoaderHarness, content: bytes
) -> None:
    harness.put({PRACTICE: content})
    with log_of(logging.WARNING) as records:
        laps = harness.loader.load_lap_times(BARBER, "practice")
    assert laps is not None
    assert laps.empty
    assert list(laps.columns[:4]) == ["LapNumber", "LapTime", "Driver", "CarNumber"]
    assert str(laps["LapNumber"].dtype) == "int64"
    assert f"Nothing is recorded in {PRACTICE.rpartition('/')[2]}" in messages(records, logging.WARNING)[-1]
    assert harness.loader.last_failure is None


@pytest.mark.req("A-076", "K-03")
def test_an_empty_telemetry_file_and_an_empty_download_give_empty_frames(harness: LoaderHarness) -> None:
    harness.put(dict.fromkeys(["data/sebring/race_telemetry_data.csv", "data/sebring/x.csv"], b""))
    samples = harness.loader.load_telemetry("sebring", "race")
    other = download(harness.loader, "data/sebring/x.csv")
    again = download(harness.loader, "data/sebring/race_telemetry_data.csv")
    assert samples is not None
    assert other is not None
    assert again is not None
    assert list(samples.columns[:6]) == ["Time", "Speed", "Throttle", "Brake", "Latitude", "Longitude"]
    assert samples.empty
    assert other.shape == (0, 0)
    assert list(again.columns) == list(samples.columns)


def test_missing_columns_are_added_without_values_and_logged(harness: LoaderHarness) -> None:
    harness.put({PRACTICE: b"LapNumber,Sector\n1,3\n"})
    with log_of(logging.WARNING) as records:
        laps = harness.loader.load_lap_times(BARBER, "practice")
    assert laps is not None
    assert laps[["LapTime", "Driver", "CarNumber"]].isna().all(axis=None)
    assert messages(records) == [f"{PRACTICE} has no LapTime, Driver, CarNumber: these columns hold nothing."]


def test_unusable_rows_are_counted_in_the_log(harness: LoaderHarness) -> None:
    broken = raw_laps(3) + b"x,I_R06_2025-09-07,R1,2025-09-06T19:00:00.000Z,2025-09-06T19:00:00.000Z,GR86-002-2\n"
    telemetry = b"lap,meta_time,telemetry_name,telemetry_value,timestamp,vehicle_id\n1,noon,speed,1,noon,GR86-002-2\n"
    harness.put({"data/barber/R1_barber_lap_start.csv": broken, "data/barber/R1_barber_telemetry_data.csv": telemetry})
    with log_of(logging.WARNING) as records:
        assert harness.loader.load_telemetry("barber", "R1") is not None
    logged = messages(records)
    assert "barber_motorsports_park/R1: 1 rows of its lap files cannot be used." in logged
    assert "barber_motorsports_park/R1: 1 readings cannot be used." in logged
