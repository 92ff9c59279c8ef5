"""Correctness properties 2 to 8 of the data hosting, tested on a local folder and on a real S3 server.

Property 1, about uploading, is in ``test_upload_property.py``. Every example uses a separate lake: a folder, or a
prefix of one bucket. In a bucket, the gate runs 30 examples of the properties 4 to 6, and ``make soak`` a hundred.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pytest
from botocore.exceptions import ClientError
from botocore.session import Session as BotocoreSession
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st

from apex_pipeline.catalog import DataLoader, LocalDataLoader, Reason, S3DataLoader, get_loader
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.session_names import canonical_session
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.keys import is_legal_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.catalog.loaders.harness import (
    LoaderHarness,
    attempts,
    download,
    local_harness,
    log_of,
    messages,
    put_quickly,
    s3_harness,
    settings_for,
    settings_of,
)
from apex_pipeline_tests.contract.written_laps import written_laps
from apex_pipeline_tests.examples import at_least
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect

# Each example creates its own lake, so function-scoped fixtures are safe: they only set the location.
EXAMPLES = at_least(100, HealthCheck.function_scoped_fixture)
_FEWER = at_least(30, HealthCheck.function_scoped_fixture)
RULES = load_rules()
NewHarness = Callable[[], LoaderHarness]

_WORD = st.from_regex(r"[A-Za-z0-9]{1,6}", fullmatch=True)
SESSIONS = st.lists(_WORD, min_size=1, max_size=3).map("_".join)
TRACKS = st.sampled_from(["sebring", "barber_motorsports_park", "circuit_of_the_americas", "spa_francorchamps"])
KINDS = st.sampled_from(["lap_start", "telemetry_data"])


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.soak)])
def new_harness(request: pytest.FixtureRequest, tmp_path: Path) -> NewHarness:
    """Return a function that creates an empty lake with its loader."""
    numbers = itertools.count()
    if request.param == "local":
        return lambda: local_harness(tmp_path / str(next(numbers)))
    return request.getfixturevalue("new_s3_harness")


@pytest.fixture
def new_s3_harness(s3_bucket: S3Bucket, tmp_path: Path) -> NewHarness:
    numbers = itertools.count()
    connection: S3Connection = connect(s3_bucket)
    return lambda: s3_harness(connection, tmp_path, prefix=f"lake-{next(numbers)}")


def _on_s3(test: Any, strategies: dict[str, st.SearchStrategy[Any]]) -> Callable[..., None]:
    """Return the test of a property in a bucket, with fewer examples than in a folder."""

    @pytest.mark.slow
    @_FEWER
    @given(**strategies)
    def on_s3(new_s3_harness: NewHarness, **drawn: object) -> None:
        test.hypothesis.inner_test(new_s3_harness, **drawn)

    return on_s3


def load(loader: DataLoader, data_type: str, track: str, session: str) -> pd.DataFrame | None:
    is_laps = data_type == "lap_start"
    return loader.load_lap_times(track, session) if is_laps else loader.load_telemetry(track, session)


def table(data_type: str, number: int) -> bytes:
    """Return a small table that contains the number of its file."""
    return b"LapNumber,LapTime\n%d,97.5\n" % number if data_type == "lap_start" else b"Time,Speed\n%d,101.5\n" % number


# -- 2 -----------------------------------------------------------------------------------------------------------------


def record_backends(monkeypatch: pytest.MonkeyPatch, used: list[str]) -> None:
    """Record which backend is listed, and return an empty listing in its place."""

    def spy(backend: str) -> Callable[..., Iterator[ObjectInfo]]:
        def listing(*_: object) -> Iterator[ObjectInfo]:
            used.append(backend)
            return iter(())

        return listing

    for class_, backend in ((LocalStore, "local"), (S3Store, "s3")):
        monkeypatch.setattr(class_, "list", spy(backend))
        monkeypatch.setattr(class_, "check_access", lambda _: None)


_YES = st.sampled_from(["true", "1", "yes", "on"])
_NO = st.sampled_from(["false", "0", "no", "off"])
_SPELLINGS = st.sampled_from([str.lower, str.upper, str.title, lambda word: f" {word} "])


@pytest.mark.req("A-062", "A-004", "A-009", "A-153")
@EXAMPLES
@given(st.one_of(st.none(), st.just(""), _YES, _NO), _SPELLINGS)
def test_the_setting_determines_the_backend(value: str | None, spell: Callable[[str], str]) -> None:
    """Feature: aws-s3-data-hosting, Property 2: S3 configuration determines data source."""
    used: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        record_backends(patched, used)
        patched.delenv("USE_S3_DATA", raising=False)
        if value is not None:
            patched.setenv("USE_S3_DATA", spell(value))
        loader = get_loader()
        assert loader.get_available_tracks() == []
        assert loader.load_lap_times("sebring", "race") is None
    is_s3 = value in {"true", "1", "yes", "on"}
    assert isinstance(loader, S3DataLoader if is_s3 else LocalDataLoader)
    assert set(used) == {"s3" if is_s3 else "local"}


@pytest.mark.req("A-062", "A-004")
@EXAMPLES
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6))
def test_any_other_value_is_refused(value: str) -> None:
    """Feature: aws-s3-data-hosting, Property 2: S3 configuration determines data source."""
    assume(value.lower() not in {"true", "1", "yes", "on", "false", "0", "no", "off"})
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("USE_S3_DATA", value)
        with pytest.raises(ConfigurationError, match="USE_S3_DATA"):
            get_loader()


# -- 3 -----------------------------------------------------------------------------------------------------------------

_ANY_NAME = st.text(max_size=12)


@pytest.mark.req("A-063")
@EXAMPLES
@given(key=st.text(max_size=20), track=_ANY_NAME, session=_ANY_NAME, data_type=KINDS)
def test_a_missing_file_or_session_returns_none(
    filled_harness: LoaderHarness, key: str, track: str, session: str, data_type: str
) -> None:
    """Feature: aws-s3-data-hosting, Property 3: File not found returns None."""
    loader = filled_harness.loader
    assume(session != "race")
    for name in (key, f"data/{key}"):
        assert download(loader, name) is None
        assert loader.last_failure
        assert loader.last_failure.reason is (Reason.NOT_FOUND if is_legal_key(name) else Reason.FAILED)
    for requested in (track, "sebring"):
        assert load(loader, data_type, requested, session) is None
        assert loader.last_failure
        assert loader.last_failure.reason is Reason.NOT_FOUND


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def filled_harness(request: pytest.FixtureRequest, tmp_path: Path) -> LoaderHarness:
    is_local = request.param == "local"
    harness = local_harness(tmp_path) if is_local else request.getfixturevalue("new_s3_harness")()
    harness.put({"data/sebring/race_sebring_lap_start.csv": table("lap_start", 1)})
    return harness


# -- 4 -----------------------------------------------------------------------------------------------------------------


_PATTERNS = {"track": TRACKS, "session": SESSIONS, "data_type": KINDS, "present": st.sets(st.integers(0, 2))}


@pytest.mark.req("A-064", "A-024", "A-025")
@EXAMPLES
@given(**_PATTERNS)
def test_all_filename_patterns_are_tried_in_order_before_none(
    new_harness: NewHarness, track: str, session: str, data_type: str, present: set[int]
) -> None:
    """Feature: aws-s3-data-hosting, Property 4: Multiple filename patterns are attempted."""
    names = [
        f"{session}_{track}_{data_type}.csv",
        f"{session}_{track.replace('_', '-')}_{data_type}.csv",
        f"{session}_{data_type}.csv",
    ]
    harness = new_harness()
    put_quickly(harness, {f"data/{track}/{names[index]}": table(data_type, index) for index in present})
    put_quickly(harness, {f"data/{track}/another_{track}_results.csv": b"x"})
    existing = {names[index] for index in present}
    first = next((index for index, name in enumerate(names) if name in existing), None)
    with log_of() as records:
        frame = load(harness.loader, data_type, track, session)
    assert attempts(records) == names[: 3 if first is None else first + 1]
    assert (frame is None) is (first is None)
    if frame is not None and first is not None:
        # For a track without an underscore, two names are equal, and the file has the content written last.
        assert names[int(frame.iloc[:, 0].tolist()[0])] == names[first]


test_all_filename_patterns_are_tried_on_s3 = _on_s3(
    test_all_filename_patterns_are_tried_in_order_before_none, _PATTERNS
)


# -- 5 -----------------------------------------------------------------------------------------------------------------

_FOLDER = st.text(st.characters(categories=("L", "N", "P", "Zs"), exclude_characters="/\\"), min_size=1, max_size=10)
FOLDERS = st.one_of(_FOLDER, st.sampled_from(["COTA", "barber", "Road America", "road-america", "VIR", "sonoma"]))
INSIDE = st.lists(st.sampled_from(["readme.txt", "R1_lap_start.csv", "Race 1/x.csv", "a/b/c.csv"]), min_size=1)
_LAYOUTS = {
    "layout": st.dictionaries(FOLDERS, INSIDE, max_size=5),
    "stray": st.sets(st.sampled_from(["x.csv", ".DS_Store"])),
}


@pytest.mark.req("A-065", "A-030")
@EXAMPLES
@given(**_LAYOUTS)
def test_every_folder_with_files_is_a_track(
    new_harness: NewHarness, layout: dict[str, list[str]], stray: set[str]
) -> None:
    """Feature: aws-s3-data-hosting, Property 5: Track discovery lists all subdirectories."""
    assume(all(is_legal_key(f"data/{folder}") and not folder.startswith(".") for folder in layout))
    files = {f"data/{folder}/{name}": b"x" for folder, names in layout.items() for name in names}
    harness = new_harness()
    put_quickly(harness, files | {f"data/{name}": b"x" for name in stray} | {"tables/laps/x/y.csv": b"x"})
    known = {folder: RULES.track_of(folder) for folder in layout}
    expected = {folder if track is None else track.slug for folder, track in known.items()}
    assert harness.loader.get_available_tracks() == sorted(expected)


test_every_folder_in_a_bucket_is_a_track = _on_s3(test_every_folder_with_files_is_a_track, _LAYOUTS)


# -- 6 -----------------------------------------------------------------------------------------------------------------


def ends_in_a_track(session: str) -> bool:
    words = session.split("_")
    return any(RULES.track_of("_".join(words[start:])) for start in range(len(words)))


_FILES = {
    "track": TRACKS,
    "files": st.dictionaries(SESSIONS, st.integers(0, 2), max_size=5),
    "others": st.lists(SESSIONS, max_size=3),
    "stray": st.sets(st.sampled_from(["readme.txt", ".DS_Store", "notes_lap_start.txt", "x_telemetry_data.csv"])),
}


@pytest.mark.req("A-066", "A-031", "K-09")
@EXAMPLES
@given(**_FILES)
def test_sessions_are_the_filename_prefixes_and_each_can_be_loaded(
    new_harness: NewHarness, track: str, files: dict[str, int], others: list[str], stray: set[str]
) -> None:
    """Feature: aws-s3-data-hosting, Property 6: Session discovery extracts from filenames."""
    assume(not any(ends_in_a_track(session) for session in [*files, *others]))
    forms = [f"_{track}", f"_{track.replace('_', '-')}", ""]
    names = [f"{session}{forms[form]}_lap_start.csv" for session, form in files.items()]
    harness = new_harness()
    put_quickly(harness, {f"data/{track}/{name}": table("lap_start", number) for number, name in enumerate(names)})
    put_quickly(harness, {f"data/{track}/{name}": b"x,y\n1,2\n" for name in stray})

    assert harness.loader.get_available_sessions(track) == sorted(files)
    for number, session in enumerate(files):
        frame = harness.loader.load_lap_times(track, session)
        assert frame is not None
        assert frame["LapNumber"].tolist() == [number]
    for session in others:
        # race_1, Race-1 and R1 name the same session.
        exists = canonical_session(session) in {canonical_session(known) for known in files}
        is_ambiguous = sum(canonical_session(known) == canonical_session(session) for known in files) > 1
        if not is_ambiguous:
            assert (harness.loader.load_lap_times(track, session) is not None) is exists


test_sessions_in_a_bucket_are_the_filename_prefixes = _on_s3(
    test_sessions_are_the_filename_prefixes_and_each_can_be_loaded, _FILES
)


# -- 7 -----------------------------------------------------------------------------------------------------------------

_KEY_ID = st.from_regex(r"[A-Z0-9]{16,20}", fullmatch=True)
_SECRET = st.from_regex(r"[A-Za-z0-9+/]{20,40}", fullmatch=True)
_CALLS: list[Callable[[DataLoader], object]] = [
    lambda loader: loader.get_available_tracks(),
    lambda loader: loader.get_available_sessions("sebring"),
    lambda loader: loader.load_lap_times("sebring", "race"),
    lambda loader: loader.load_telemetry("sebring", "race"),
    lambda loader: download(loader, "data/sebring/race_sebring_lap_start.csv"),
]


@pytest.fixture
def shared_service_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all clients share botocore's service descriptions, because rereading them takes most of the time."""
    descriptions = BotocoreSession().get_component("data_loader")
    real_session = boto3.Session

    def session(**options: Any) -> boto3.Session:
        core: BotocoreSession = options.setdefault("botocore_session", BotocoreSession())
        core.register_component("data_loader", descriptions)
        return real_session(**options)

    monkeypatch.setattr("boto3.Session", session)


@pytest.mark.req("A-067", "A-071", "A-083")
@pytest.mark.usefixtures("shared_service_descriptions")
@EXAMPLES
@given(key_id=st.one_of(st.none(), _KEY_ID), secret=_SECRET, call=st.sampled_from(_CALLS))
def test_invalid_credentials_log_a_clear_error_without_the_secret(
    s3_bucket: S3Bucket, tmp_path: Path, key_id: str | None, secret: str, call: Callable[[DataLoader], object]
) -> None:
    """Feature: aws-s3-data-hosting, Property 7: Invalid credentials produce clear errors."""
    known = s3_bucket.server.access_key_id
    loader = S3DataLoader(
        settings_of(s3_bucket, tmp_path, aws_access_key_id=key_id or known, aws_secret_access_key=secret)
    )
    with log_of() as records:
        assert not call(loader)
    assert loader.last_failure
    assert loader.last_failure.reason is Reason.CREDENTIALS
    (message,) = messages(records, logging.ERROR)
    assert message.startswith(("Listing s3://", "Reading s3://"))
    assert s3_bucket.name in message
    assert "Credentials: from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY." in message
    assert "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message
    assert not any(secret in str(vars(record)) for record in records)


# Every error code for rejected credentials; the test server returns only some of them.
_CODES = [
    *("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"),
    *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidSecurity"),
    *("MissingSecurityHeader", "AccountProblem", "NotSignedUp", "401"),
]


@pytest.mark.req("A-067", "K-24")
@pytest.mark.usefixtures("shared_service_descriptions")
@EXAMPLES
@given(code=st.sampled_from(_CODES), secret=_SECRET, call=st.sampled_from(_CALLS))
def test_every_code_for_invalid_credentials_is_reported(
    tmp_path: Path, code: str, secret: str, call: Callable[[DataLoader], object]
) -> None:
    """Feature: aws-s3-data-hosting, Property 7: Invalid credentials produce clear errors."""
    loader = S3DataLoader(settings_for(tmp_path, bucket="some-bucket", **_credentials(secret)))
    with pytest.MonkeyPatch.context() as patched, log_of() as records:
        patched.setattr("botocore.client.BaseClient._make_api_call", _refuse_with(code))
        assert not call(loader)
    assert loader.last_failure
    assert loader.last_failure.reason is Reason.CREDENTIALS
    (message,) = messages(records, logging.ERROR)
    assert "s3://some-bucket" in message
    assert code in message
    assert not any(secret in str(vars(record)) for record in records)


def _credentials(secret: str) -> dict[str, object]:
    return {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": secret}


def _refuse_with(code: str) -> Callable[..., object]:
    def refuse(_client: object, operation: str, _params: object) -> object:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    return refuse


# -- 8 -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def both_backends(tmp_path: Path, s3_bucket: S3Bucket) -> Callable[[], tuple[LoaderHarness, LoaderHarness]]:
    numbers = itertools.count()
    connection = connect(s3_bucket)

    def make() -> tuple[LoaderHarness, LoaderHarness]:
        number = str(next(numbers))
        return local_harness(tmp_path / number), s3_harness(connection, tmp_path / number, prefix=number)

    return make


@pytest.mark.req("A-068", "A-017", "A-012")
@EXAMPLES
@given(written=written_laps())
def test_local_and_s3_load_identical_frames(
    both_backends: Callable[[], tuple[LoaderHarness, LoaderHarness]], written: tuple[pd.DataFrame, str, bytes]
) -> None:
    """Feature: aws-s3-data-hosting, Property 8: Data format consistency across sources."""
    laps, ending, content = written
    key = f"data/sebring/race_sebring_lap_start.csv{ending}"
    frames: list[pd.DataFrame] = []
    plain: list[pd.DataFrame] = []
    for harness in both_backends():
        put_quickly(harness, {key: content})
        frame, other = harness.loader.load_lap_times("sebring", "race"), download(harness.loader, key)
        assert frame is not None
        assert other is not None
        frames.append(frame)
        plain.append(other)
    pd.testing.assert_frame_equal(frames[0], frames[1])
    pd.testing.assert_frame_equal(plain[0], plain[1])
    pd.testing.assert_frame_equal(frames[0], laps)
