"""Tests that a derivation reads only the raw files its session was recorded with, on both backends."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.errors import FileChangedError, ObjectMissingError
from apex_pipeline.lake.raw_files import raw_file_opener, recorded_file_opener
from apex_pipeline.lake.records import SessionRecord
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.contract.conftest import (
    harness,
    new_s3_botocore_harness,
    new_s3_harness,
    old_s3_botocore_harness,
    old_s3_harness,
    store,
)
from apex_pipeline_tests.lake.conftest import open_lake
from apex_pipeline_tests.lake.tables import put_raw_file, put_record

__all__ = [
    "harness",
    "new_s3_botocore_harness",
    "new_s3_harness",
    "old_s3_botocore_harness",
    "old_s3_harness",
    "store",
]

_R1 = SessionKey("spa", "R1")
_PATH = "spa/R1_lap_start.csv"
_CONTENT = b"what was recorded"


def _recorded(store: ObjectStore) -> SessionRecord:
    return put_record(store, _R1, files=[put_raw_file(store, _R1, _CONTENT)])


def _read(store: ObjectStore, record: SessionRecord) -> bytes:
    with recorded_file_opener(store, record)(_PATH) as stream:
        return stream.read()


def test_a_recorded_file_is_read(store: ObjectStore) -> None:
    record = _recorded(store)
    assert _read(store, record) == _CONTENT
    with raw_file_opener(store)(_PATH) as stream:
        assert stream.read() == _CONTENT


@pytest.mark.parametrize("content", [b"what was replaced", b"longer than what was recorded", b""])
def test_a_file_that_was_replaced_is_not_read(store: ObjectStore, content: bytes) -> None:
    record = _recorded(store)
    store.write_bytes(raw_key(_PATH), content)
    with pytest.raises(FileChangedError, match=r"is not the file that the session spa/R1 was recorded with") as failed:
        _read(store, record)
    assert failed.value.hint == "Materialize the asset lake/session of the partition spa/R1 again."


def test_a_file_that_is_gone_is_missing_by_name(store: ObjectStore) -> None:
    record = _recorded(store)
    store.delete(raw_key(_PATH))
    with pytest.raises(
        ObjectMissingError, match=r"R1_lap_start\.csv, a file of the session spa/R1, is missing"
    ) as failed:
        _read(store, record)
    assert "lake/files of the partition spa/R1" in failed.value.hint


def test_the_same_content_with_another_tag_is_read(store: ObjectStore) -> None:
    record = _recorded(store)
    other = replace(record, files=tuple(replace(file, tag="of a former copy of the lake") for file in record.files))
    assert _read(store, other) == _CONTENT


def test_another_tag_without_a_digest_is_another_file(store: ObjectStore) -> None:
    record = _recorded(store)
    unknown = tuple(replace(file, tag="of another upload", sha256=None) for file in record.files)
    with pytest.raises(FileChangedError):
        _read(store, replace(record, files=unknown))


def test_a_file_edited_in_place_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    store = open_lake(tmp_path / "lake")
    record = _recorded(store)
    path = Path(store.uri_of(raw_key(_PATH)))

    def read_while_edited() -> None:
        with recorded_file_opener(store, record)(_PATH) as stream:
            assert stream.read(4) == _CONTENT[:4]
            path.write_bytes(_CONTENT[::-1])
            os.utime(path, ns=(1, 1))
            stream.read()

    with pytest.raises(FileChangedError):
        read_while_edited()


def test_an_error_of_the_reader_is_raised_as_it_is(store: ObjectStore) -> None:
    record = _recorded(store)

    def fail() -> None:
        with recorded_file_opener(store, record)(_PATH):
            raise ValueError("a bad cell")

    with pytest.raises(ValueError, match="a bad cell"):
        fail()
