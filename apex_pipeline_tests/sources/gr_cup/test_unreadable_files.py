"""A file that cannot be read is left out as a whole and reported; the tables of the other files are complete."""

import gzip
import io
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.errors import (
    ApexError,
    FileChangedError,
    MalformedFileError,
    ObjectMissingError,
    PermanentError,
    StorageFullError,
    StoreAuthError,
    StoreConfigError,
    StoreCorruptionError,
    StoreError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.base import DerivedTable, FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.quality import session_note_of
from apex_pipeline.sources.gr_cup.source import GrCup
from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables.session_key import SessionKey

_KEY = SessionKey("mesa_verde_raceway", "R1")
# The table that each kind of file feeds directly, and the table that lists its rejects.
_TABLES = {
    FileKind.LAP_START: ("laps", "lap_rejects"),
    FileKind.LAP_END: ("laps", "lap_rejects"),
    FileKind.LAP_TIME: ("laps", "lap_rejects"),
    FileKind.TELEMETRY: ("telemetry", "telemetry_rejects"),
    FileKind.SECTIONS: ("official_laps", "official_rejects"),
    FileKind.RESULTS: ("results", "official_rejects"),
    FileKind.WEATHER: ("weather", "official_rejects"),
}


@dataclass
class Session:
    """A session whose files can be replaced by other bytes, or by an error of the store."""

    root: Path
    files: list[FileIdentity]
    folder: Path
    contents: dict[str, bytes | ApexError]
    limits: Limits = DEFAULT_LIMITS
    memory_limit: int = 1_000_000_000

    def of_kind(self, *kinds: FileKind) -> list[FileIdentity]:
        return [item for item in self.files if item.kind in kinds]

    def replace_file(self, item: FileIdentity, content: bytes | ApexError, ending: str = "") -> str:
        """Replace the content of a file, and append an ending to its name; return its path."""
        path = item.path + ending
        self.files[self.files.index(item)] = replace(item, path=path)
        self.contents[path] = content
        return path

    def open_file(self, path: str) -> AbstractContextManager[BinaryIO]:
        content = self.contents.get(path)
        if isinstance(content, ApexError):
            raise content
        return io.BytesIO((self.root / path).read_bytes() if content is None else content)

    def derive(self) -> dict[str, DerivedTable]:
        source, workspace = GrCup(), Workspace(self.memory_limit, self.folder, limits=self.limits)
        rules = source.load_rules(load_settings())
        return {item.table.name: item for item in source.derive(_KEY, self.files, self.open_file, workspace, rules)}


@pytest.fixture
def session(demo_weekend: tuple[Path, GroundTruth], tmp_path: Path) -> Session:
    """Race 1 of the synthetic weekend, with the start of its telemetry and only one classification."""
    root = demo_weekend[0]
    files = [
        item
        for item in _files_in(root)
        if (item.track, item.session) == _KEY and item.status is FileStatus.READY and item.kind in _TABLES
        if item.version != "provisional"
    ]
    session = Session(root, files, tmp_path, {})
    (telemetry,) = session.of_kind(FileKind.TELEMETRY)
    session.contents[telemetry.path] = (root / telemetry.path).read_bytes()[:40_000].rpartition(b"\n")[0] + b"\n"
    assert sorted(item.kind for item in files) == sorted(_TABLES)
    return session


@cache
def _files_in(root: Path) -> Sequence[FileIdentity]:
    return identify(scan_folder(root), load_settings())


def rows(derived: DerivedTable) -> list[dict[str, Any]]:
    content = derived.content
    table: pa.Table = pq.ParquetFile(content).read() if isinstance(content, Path) else content
    return table.to_pylist()


def without(session: Session, *paths: str) -> dict[str, DerivedTable]:
    """Derive the session as if it did not have these files."""
    files = [item for item in session.files if item.path not in paths]
    return replace(session, files=files).derive()


_ROWS: dict[object, dict[str, list[dict[str, Any]]]] = {}


def _rows_without(session: Session, paths: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables without these files, derived once for each set of other files and their content."""
    others = [(item.path, session.contents.get(item.path)) for item in session.files if item.path not in paths]
    key = (session.root, session.limits, session.memory_limit, tuple(others))
    if key not in _ROWS:
        _ROWS[key] = {name: rows(table) for name, table in without(session, *paths).items()}
    return _ROWS[key]


def assert_left_out(session: Session, derived: dict[str, DerivedTable], paths: Sequence[str]) -> None:
    """Assert that the tables are those of the other files, and that these files are reported."""
    expected = _rows_without(session, paths)
    assert derived.keys() == expected.keys()
    reported = {"lap_rejects", "telemetry_rejects", "official_rejects", "quality"}
    for name in derived.keys() - reported:
        assert rows(derived[name]) == expected[name], name
    rejects = [row for name in sorted(reported - {"quality"}) for row in rows(derived[name])]
    unreadable = [row for row in rejects if row["reason"] == "unreadable_file"]
    assert sorted(row["source_file"] for row in unreadable) == sorted(paths)
    assert all(row["source_row"] is None for row in unreadable)
    note = session_note_of(derived["quality"].content)
    for row in sorted(unreadable, key=lambda row: row["source_file"])[:6]:
        assert f"Nothing is from {row['source_file']}, which {row['detail']}" in note
    assert ("1 more file could not be read." in note) == (len(unreadable) == 7)
    warnings = [warning for item in derived.values() for warning in item.warnings if "is left out" in warning]
    assert sorted(warning.partition(" is left out")[0] for warning in warnings) == sorted(paths)
    assert all(item.table.violations(item.content) == [] for item in derived.values() if item.table.name in reported)


def _text_of(session: Session, item: FileIdentity) -> bytes:
    with session.open_file(item.path) as stream:
        return stream.read()


_DEFECTS: dict[str, tuple[Callable[[bytes], bytes | ApexError], str, str]] = {
    "truncated archive": (lambda text: gzip.compress(text, mtime=0)[:-9], ".gz", "its end is missing"),
    "garbage": (lambda text: b"\x1f\x8b" + text, ".gz", "cannot be decompressed"),
    "no archive": (lambda text: text, ".zst", "cannot be decompressed"),
    "too large": (lambda text: text + b"\n" * 2_500_000, "", "is more than 2 MB (limit APEX_MAX_"),
    "bomb": (
        lambda text: gzip.compress(text + b"\n" * 1_250_000, mtime=0),
        ".gz",
        "unpacks to more than 50 times its size (limit APEX_MAX_COMPRESSION_RATIO)",
    ),
    "forbidden": (
        lambda _: StorePermissionError("Reading s3://races/x at https://store failed: no.", "Grant s3:GetObject."),
        "",
        "cannot be read from the lake (StorePermissionError). Grant s3:GetObject.",
    ),
    "archived": (
        lambda _: StoreError("Reading s3://races/x at https://store failed: archived.", "Restore it."),
        "",
        "cannot be read from the lake (StoreError). Restore it.",
    ),
    "header of another kind": (lambda text: b"one,two\n1,2\n" + text, "", "lacks the column"),
}
_SMALL = Limits(unpacked_bytes=2_000_000, lap_file_bytes=2_000_000, compression_ratio=50, ratio_from_bytes=1_000_000)


@pytest.mark.parametrize("defect", sorted(_DEFECTS))
@pytest.mark.parametrize("kind", sorted(_TABLES))
def test_one_unreadable_file_takes_nothing_from_the_others(session: Session, kind: FileKind, defect: str) -> None:
    damage, ending, problem = _DEFECTS[defect]
    session.limits = _SMALL
    (item,) = session.of_kind(kind)
    path = session.replace_file(item, damage(_text_of(session, item)), ending)

    derived = session.derive()

    assert_left_out(session, derived, [path])
    table, rejects = _TABLES[kind]
    (reject,) = (row for row in rows(derived[rejects]) if row["reason"] == "unreadable_file")
    assert (reject["kind"], problem in reject["detail"]) == (kind, True)
    assert "https://store" not in reject["detail"]
    reported = derived["official_laps" if rejects == "official_rejects" else table]
    assert [file.path for file in reported.unreadable] == [path]


def _cut_after_the_header(text: bytes) -> bytes:
    return text.partition(b"\n")[0] + b"\n"


def _with_bad_cells(text: bytes) -> bytes:
    """Replace every digit below the header: no time and no number can be read any more."""
    header, _, body = text.partition(b"\n")
    return header + b"\n" + re.sub(rb"\d", b"?", body)


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        *((kind, _with_bad_cells) for kind in sorted(_TABLES.keys() - {FileKind.TELEMETRY})),
        *((kind, _cut_after_the_header) for kind in (FileKind.SECTIONS, FileKind.RESULTS, FileKind.WEATHER)),
    ],
)
def test_a_file_that_gives_no_row_is_not_taken_for_a_session_without_one(
    session: Session, kind: FileKind, damage: Callable[[bytes], bytes]
) -> None:
    """A file that was cut off, or is written in another way, must not empty a table without a word."""
    (item,) = session.of_kind(kind)
    path = session.replace_file(item, damage(_text_of(session, item)))

    derived = session.derive()

    assert_left_out(session, derived, [path])
    (reject,) = (row for row in rows(derived[_TABLES[kind][1]]) if row["reason"] == "unreadable_file")
    assert reject["detail"].startswith(f"gives no {kind} row.")


def test_only_rows_are_counted_as_rejected_and_not_notes_about_cells(session: Session) -> None:
    """Lap times without milliseconds are noted for the whole column, before any row is rejected."""
    (item,) = session.of_kind(FileKind.SECTIONS)
    header = b"NUMBER;LAP_NUMBER;LAP_TIME;ELAPSED;HOUR;KPH\n"
    laps = b"".join(b"3;0;1:4%d.0;1:40.0;;soon\n" % (lap % 10) for lap in range(12))
    path = session.replace_file(item, header + laps)

    derived = session.derive()

    (reject,) = (row for row in rows(derived["official_rejects"]) if row["reason"] == "unreadable_file")
    assert reject["source_file"] == path
    assert reject["detail"].startswith("gives no sections row. 12 rows are rejected, the first for bad_value. ")


@pytest.mark.parametrize(
    "kinds",
    [
        (FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME),
        (FileKind.SECTIONS, FileKind.RESULTS, FileKind.WEATHER),
        (FileKind.LAP_START, FileKind.TELEMETRY, FileKind.SECTIONS),
        tuple(_TABLES),
    ],
    ids=["all lap files", "all official timing", "one of each", "all"],
)
def test_whatever_is_left_is_published(session: Session, kinds: Sequence[FileKind]) -> None:
    paths = [session.replace_file(item, b"\x1f\x8b", ".gz") for item in session.of_kind(*kinds)]

    assert_left_out(session, session.derive(), paths)


@pytest.mark.parametrize("kind", sorted(_TABLES))
def test_a_session_of_a_single_file_fails_if_that_cannot_be_read(session: Session, kind: FileKind) -> None:
    session.files = session.of_kind(kind)
    path = session.replace_file(session.files[0], b"\x1f\x8b", ".gz")

    with pytest.raises(MalformedFileError, match=re.escape(path)):
        session.derive()


def test_a_store_that_refuses_every_file_stops_the_derivation(session: Session) -> None:
    for item in list(session.files):
        session.replace_file(item, StorePermissionError(f"Reading {item.path} failed.", "Grant s3:GetObject."))

    with pytest.raises(StorePermissionError):
        session.derive()


@pytest.mark.parametrize("kind", sorted(_TABLES))
@pytest.mark.parametrize(
    "error",
    [
        *(StoreUnavailableError, FileChangedError, ObjectMissingError, StoreCorruptionError),
        *(StoreAuthError, StoreConfigError, StorageFullError, PermanentError),
    ],
)
def test_an_error_that_is_not_of_one_file_stops_the_derivation(
    session: Session, kind: FileKind, error: type[ApexError]
) -> None:
    session.replace_file(session.of_kind(kind)[0], error("It failed.", "Try again."))

    with pytest.raises(error, match="It failed"):
        session.derive()


def test_a_plain_file_that_ends_within_a_row_keeps_its_other_rows(session: Session) -> None:
    (item,) = session.of_kind(FileKind.LAP_END)
    session.contents[item.path] = _text_of(session, item).rstrip().rpartition(b",")[0]

    derived = session.derive()

    assert [row["reason"] for row in rows(derived["lap_rejects"])] == ["too_few_columns"]
    assert derived["laps"].facts["triggers"] > 0
    assert not derived["laps"].unreadable


def test_a_mended_file_gives_the_tables_as_if_it_had_never_been_damaged(session: Session) -> None:
    expected = {name: rows(item) for name, item in session.derive().items()}
    (item,) = session.of_kind(FileKind.SECTIONS)
    text = _text_of(session, item)
    session.contents[item.path] = b"one,two\n"
    assert {name: rows(found) for name, found in session.derive().items()} != expected
    session.contents[item.path] = text
    assert {name: rows(found) for name, found in session.derive().items()} == expected


def test_a_file_with_more_cars_than_the_limit_is_left_out(session: Session) -> None:
    session.limits = Limits(cars=1)

    derived = session.derive()

    # The weather names no cars, and this part of the telemetry only one.
    paths = [item.path for item in session.files if item.kind not in {FileKind.WEATHER, FileKind.TELEMETRY}]
    assert sorted(file.path for item in derived.values() for file in item.unreadable) == sorted(paths)
    assert all("APEX_MAX_CARS" in file.problem for item in derived.values() for file in item.unreadable)


def test_rows_beyond_the_memory_limit_set_their_file_aside(session: Session) -> None:
    header, row = _text_of(session, session.of_kind(FileKind.LAP_END)[0]).splitlines(keepends=True)[:2]
    path = session.replace_file(session.of_kind(FileKind.LAP_START)[0], header + row * 70_000)
    session.memory_limit = 500_000_000

    derived = session.derive()

    (reject,) = (item for item in rows(derived["lap_rejects"]) if item["reason"] == "unreadable_file")
    assert reject["source_file"] == path
    assert "has more rows than fit in memory (limit APEX_MEMORY_LIMIT)" in reject["detail"]
