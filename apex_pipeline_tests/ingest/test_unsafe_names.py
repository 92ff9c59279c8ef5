"""Tests unsafe file names and links: each is refused, naming the file, or stored unchanged.

Unsafe names and links escape the folder, control a terminal, or would prevent other files from being copied.
"""

import os
import unicodedata
from pathlib import Path

import pytest

from apex_pipeline.errors import ApexError
from apex_pipeline.ingest.source_folder import scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.copy import CopyItem, copy_files
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.keys import MAX_KEY_BYTES, UnsafeKeyError
from apex_pipeline.storage.layout import RAW_PREFIX, raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

pytestmark = pytest.mark.req("A-040", "A-061", "A-047")

# Nested folders and a file name whose combined key has exactly the maximum length.
_LONGEST = ("d" * 92 + "/") * 10 + "x" * (MAX_KEY_BYTES - len(RAW_PREFIX) - 930)
_UNUSUAL = [
    _LONGEST,
    unicodedata.normalize("NFC", "Nürburgring/é.csv"),
    unicodedata.normalize("NFD", "Nürburgring/é.csv"),
    "Race 1/LAP.csv",
    "Race 1/lap.csv",
    "trailing dot.",
    "trailing space ",
    " leading",
    "...",
    "..hidden",
    ".incoming/x.csv",
    "%2e%2e/x.csv",
    "[red]x[/red].csv",
    "日本/🏁.csv",
]


def _put(root: Path, name: bytes, content: bytes = b"lap") -> None:
    path = os.path.join(os.fsencode(root), name)  # noqa: PTH118  -- Path does not take bytes, and some names are not valid text
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120  -- as above
    with open(path, "wb") as file:  # noqa: PTH123  -- as above
        file.write(content)


@pytest.mark.parametrize(
    ("name", "shown", "reason"),
    [
        (b"R1_spa\n_lap_time.csv", r"R1_spa\n_lap_time.csv", "a control character"),
        (b"R1_spa\x1b[2J_lap_time.csv", r"R1_spa\x1b[2J_lap_time.csv", "a control character"),
        (b"R1_spa\xff_lap_time.csv", r"R1_spa\udcff_lap_time.csv", "not valid Unicode"),
        (b"Icon\r", r"Icon\r", "a control character"),
        (b"..\\..\\R1_spa_lap_time.csv", r"..\..\R1_spa_lap_time.csv", "a backslash"),
        (_LONGEST.encode() + b"y", _LONGEST + "y", "1025 bytes, at most 1024"),
    ],
)
def test_a_name_that_cannot_be_a_key_is_refused_and_the_others_are_listed(
    tmp_path: Path, name: bytes, shown: str, reason: str
) -> None:
    _put(tmp_path, name)
    _put(tmp_path, b"R1_spa_lap_start.csv")
    folder = scan_folder(tmp_path)
    assert [file.path for file in folder.files] == ["R1_spa_lap_start.csv"]
    ((path, given_reason),) = folder.refused
    assert path == shown
    assert path.isprintable()
    assert reason in given_reason


@pytest.mark.parametrize("target", ["outside", "source/inside", "source", "nowhere"])
def test_a_link_to_a_folder_is_refused_and_not_followed(tmp_path: Path, target: str) -> None:
    source = tmp_path / "source"
    _put(tmp_path, b"outside/secret.csv")
    _put(source, b"inside/x.csv")
    (source / "link").symlink_to(tmp_path / target, target_is_directory=True)
    folder = scan_folder(source)
    assert [file.path for file in folder.files] == ["inside/x.csv"]
    assert [path for path, _ in folder.refused] == ["link"]


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        return store_of(connect(request.getfixturevalue("s3_bucket")))
    store = LocalStore(tmp_path / "lake", DigestCache())
    store.prepare_for_writing()
    return store


def test_unusual_names_are_stored_unchanged_and_do_not_collide(lake: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in _UNUSUAL:
        _put(source, name.encode(), name.encode())
    folder = scan_folder(source)
    assert folder.refused == ()
    report = copy_files(lake, [CopyItem(file.local_path, raw_key(file.path)) for file in folder.files], DigestCache())
    assert report
    assert [stored.key for stored in lake.list()] == sorted(RAW_PREFIX + name for name in _UNUSUAL)
    assert [lake.read_bytes(RAW_PREFIX + name) for name in _UNUSUAL] == [name.encode() for name in _UNUSUAL]


@pytest.mark.parametrize("path", ["../x.csv", "/etc/passwd", "a/../../x.csv", "a//b.csv", ""])
def test_a_path_outside_the_raw_files_folder_has_no_key(path: str) -> None:
    with pytest.raises(UnsafeKeyError):
        raw_key(path)


@pytest.mark.parametrize("prefix", ["../other", "a/../../b", "a//b", "a\\b", "line\nbreak"])
def test_an_unsafe_lake_prefix_is_refused(s3_bucket: S3Bucket, prefix: str) -> None:
    with pytest.raises(ApexError, match="is not allowed"):
        open_store(load_settings(use_s3_data=True, lake_prefix=prefix), for_writing=True).check_access()
    assert s3_bucket.object_keys() == []
