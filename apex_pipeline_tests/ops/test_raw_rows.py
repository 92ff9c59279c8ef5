"""Rows of raw files, by file and line, with their exact text."""

import hashlib
from dataclasses import replace

import pytest

from apex_pipeline.errors import LimitExceededError, MalformedFileError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.ops import lineage
from apex_pipeline.ops.lineage import RawFiles
from apex_pipeline.sources import text_lines
from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import put_raw_file


def _raw(store: LocalStore, content: bytes, *, sha256: str | None = None, limits: Limits = DEFAULT_LIMITS) -> RawFiles:
    store.write_bytes(raw_key("spa/a.csv"), content)
    file = put_raw_file(store, SessionKey("spa", "R1"))
    return RawFiles(store, [replace(file, path="spa/a.csv", bytes=len(content), sha256=sha256, kind="lap_end")], limits)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_are_numbered_as_by_the_reader_of_raw_files(store: LocalStore, line_end: str) -> None:
    """Characters that end a line in Python strings only (form feed, U+2028) do not end a line of a raw file."""
    content = line_end.join(["\ufefflap,value", "1,\x0c2\u2028", "", "3,4"]).encode()
    raw = _raw(store, content)
    assert [raw.row("spa/a.csv", line).text for line in (1, 2, 4)] == ["lap,value", "1,\x0c2\u2028", "3,4"]


def test_a_row_in_latin_1_is_decoded_and_what_may_be_a_name_is_masked(store: LocalStore) -> None:
    raw = _raw(store, b"lap,value\n1,20\xb0\n2,N\xfcrburg\n")
    assert [raw.row("spa/a.csv", line).text for line in (2, 3)] == ["1,20°", "2,***"]


def test_the_digest_is_the_one_in_the_catalog(store: LocalStore) -> None:
    digest = hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    raw = _raw(store, b"a,b\n1,2\n", sha256=digest)
    assert raw.row("spa/a.csv", 2).sha256 == raw.whole("spa/a.csv").sha256 == digest


def test_a_file_without_a_digest_in_the_catalog_is_readable(store: LocalStore) -> None:
    assert _raw(store, b"a,b\n1,2\n").row("spa/a.csv", 2).sha256 is None


def test_a_missing_file_is_an_error(store: LocalStore) -> None:
    raw = _raw(store, b"a,b\n1,2\n")
    store.delete(raw_key("spa/a.csv"))
    with pytest.raises(ObjectMissingError, match=r"a\.csv"):
        raw.row("spa/a.csv", 2)


def test_a_file_is_read_once(store: LocalStore) -> None:
    raw = _raw(store, b"a,b\n1,2\n3,4\n")
    assert raw.row("spa/a.csv", 2).text == "1,2"
    store.delete(raw_key("spa/a.csv"))
    assert raw.row("spa/a.csv", 3).text == "3,4"


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every file as too large to keep in memory."""
    monkeypatch.setattr(lineage, "_KEPT_BYTES", 1)


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("block_bytes", [1, 5, 1_000_000])
def test_rows_of_a_large_file_are_read_as_a_stream(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", block_bytes)
    content = b"lap,value\r\n1,2\r3,4\n5,6"
    raw = _raw(store, content, sha256=hashlib.sha256(content).hexdigest())
    assert [raw.row("spa/a.csv", line).text for line in (1, 2, 3, 4)] == ["lap,value", "1,2", "3,4", "5,6"]


@pytest.mark.usefixtures("nothing_kept")
def test_a_large_file_that_was_replaced_is_an_error(store: LocalStore) -> None:
    raw = _raw(store, b"a,b\n1,2\n", sha256=hashlib.sha256(b"a,b\n1,3\n").hexdigest())
    with pytest.raises(StoreCorruptionError, match="has changed since"):
        raw.row("spa/a.csv", 2)


def test_a_line_that_is_not_in_the_file_is_an_error(store: LocalStore) -> None:
    with pytest.raises(MalformedFileError, match=r"spa/a\.csv has no line 3"):
        _raw(store, b"a,b\n1,2").row("spa/a.csv", 3)


def test_a_row_beyond_a_limit_is_an_error(store: LocalStore) -> None:
    raw = _raw(store, b"a,b\n1,2\n" + b"x" * 100, limits=Limits(lap_file_bytes=50))
    with pytest.raises(LimitExceededError, match="APEX_MAX_LAP_FILE_SIZE"):
        raw.row("spa/a.csv", 2)


def test_the_kind_of_an_unlisted_file_is_none(store: LocalStore) -> None:
    raw = _raw(store, b"")
    assert (raw.kind_of("spa/a.csv"), raw.kind_of("spa/b.csv")) == ("lap_end", None)
