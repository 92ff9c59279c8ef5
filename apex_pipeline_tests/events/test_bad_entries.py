"""Entries of a folder that are no files to ship, and files whose names or contents are no events."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apex_pipeline.events.days import delivered_files
from apex_pipeline.events.failures import ErrorClass
from apex_pipeline.events.report import ShipStatus
from apex_pipeline.storage.factory import open_store_at
from apex_pipeline_tests.events.harness import KEY, NAME, XML, Harness, only, statuses


def _pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path, _: Path) -> None:
    path.mkdir()


def _loop(path: Path, _: Path) -> None:
    path.symlink_to(path)


def _link_out(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def _broken_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "missing")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_pipe, "it is a pipe"),
        (_folder, "it is a folder with the name of a file"),
        (_loop, "it is a link"),
        (_link_out, "it is a link"),
        (_broken_link, "it is a link"),
    ],
)
def test_what_is_no_file_is_named_and_the_rest_is_shipped(
    harness: Harness, tmp_path: Path, make: object, reason: str
) -> None:
    outside = tmp_path / "secret.xml"
    outside.write_bytes(b"<secret/>")
    assert callable(make)
    make(harness.folder / "20250729_161501.xml", outside)
    harness.write(NAME)
    report = harness.ship()
    assert statuses(report) == {NAME: ShipStatus.SHIPPED, "20250729_161501.xml": ShipStatus.FAILED}
    assert report.failures == {ErrorClass.DATA: 1}
    assert reason in str(report.of(ShipStatus.FAILED)[0].problem)
    assert report.exit_code == 1
    assert harness.objects() == {KEY: XML}


def test_other_folders_are_left_alone(harness: Harness) -> None:
    (harness.folder / "archive").mkdir()
    harness.write(NAME)
    assert harness.ship().exit_code == 0


@pytest.mark.parametrize("name", [b"\xff\xfe.xml", b"a\nb.xml", b"a\\b.xml", b"a\x1b[2Jb.xml"])
def test_a_name_that_no_key_can_have_is_told_without_control_characters(harness: Harness, name: bytes) -> None:
    harness.write(NAME)
    Path(os.fsdecode(os.fsencode(harness.folder) + b"/" + name)).write_bytes(XML)
    report = harness.ship()
    assert report.failures == {ErrorClass.DATA: 1}
    failed = report.of(ShipStatus.FAILED)[0]
    assert failed.name.isprintable()
    assert "Rename the file" in str(failed.problem)
    assert harness.objects() == {KEY: XML}
    assert len(harness.left()) == 1


@pytest.mark.parametrize("letter", ["x", "ü", "赛"])
def test_the_longest_names_are_shipped_twice_under_two_names(harness: Harness, letter: str) -> None:
    room = 255 - len(".xml")
    name = letter * (room // len(letter.encode())) + ".xml"
    for content in (XML, XML * 2):
        harness.write(name, content)
        assert only(harness.ship()).status is ShipStatus.SHIPPED
    assert sorted(harness.objects().values()) == sorted([XML, XML * 2])
    assert sorted(harness.done().values()) == sorted([XML, XML * 2])


def test_names_that_differ_only_in_case_are_two_files(harness: Harness) -> None:
    harness.write("Pit.xml", XML)
    harness.write("pit.xml", XML * 2)
    assert harness.ship()
    assert harness.objects() == {"xml-events/Pit.xml": XML, "xml-events/pit.xml": XML * 2}


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("20250729_250000.xml", "2025/07/29"),
        ("20250729_161560.xml", "2025/07/29"),
        ("20250231_000000.xml", None),
        ("29991231_235959.xml", "2999/12/31"),
        ("19700101_000000.xml", "1970/01/01"),
        ("00000000_000000.xml", None),
        ("gateway.xml", None),
    ],
)
def test_a_file_has_one_day_in_the_bucket_in_done_and_in_the_records(
    harness: Harness, name: str, day: str | None
) -> None:
    harness.write(name)  # last written in another day
    os.utime(harness.folder / name, (0, 0))
    assert harness.ship(use_date_folders=True).exit_code == 0
    assert harness.objects() == {f"xml-events/{day}/{name}" if day else f"xml-events/{name}": XML}
    store = open_store_at(f"s3://{harness.bucket.name}", harness.config().settings)
    (found,) = delivered_files(store, "xml-events/")
    (entry,) = harness.entries()
    delivered = datetime.fromtimestamp(entry.updated_s, UTC).date()
    assert f"{found:%Y/%m/%d}" == (day or f"{delivered:%Y/%m/%d}")
    assert harness.done() == {f"{found:%Y/%m/%d}/{name}": XML}


def test_an_empty_file_waits(harness: Harness) -> None:
    harness.write(NAME, b"")
    report = harness.ship()
    assert only(report).status is ShipStatus.WAITING
    assert report.exit_code == 0
    assert harness.left() == [NAME]


def test_a_file_of_nothing_but_zeros_is_shipped_and_marked(harness: Harness) -> None:
    harness.write(NAME, bytes(10_000))
    assert only(harness.ship()).key == "xml-events/20250729_161500_raw.xml"


@pytest.mark.parametrize("encoding", ["shift_jis", "gbk", "utf-32-be", "x-unknown", "hex"])
def test_a_declared_encoding_that_no_parser_knows_holds_up_no_file(harness: Harness, encoding: str) -> None:
    content = f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + XML
    harness.write(NAME, content)
    harness.write("20250729_161501.xml")
    assert statuses(harness.ship()) == {NAME: ShipStatus.SHIPPED, "20250729_161501.xml": ShipStatus.SHIPPED}
    assert harness.objects() == {KEY: content, "xml-events/20250729_161501.xml": XML}
    assert "wellformed" not in harness.metadata(KEY)


@pytest.mark.parametrize("name", ["..xml", ".xml", "...json"])
def test_a_hidden_file_of_dots_is_never_taken(harness: Harness, name: str) -> None:
    harness.write(name)
    harness.write(NAME)
    assert statuses(harness.ship()) == {NAME: ShipStatus.SHIPPED}
    assert harness.left() == [name]


def test_another_file_in_done_is_not_overwritten(harness: Harness) -> None:
    there = harness.folder / "done" / "2025" / "07" / "29" / NAME
    there.parent.mkdir(parents=True)
    there.write_bytes(b"older")
    harness.write(NAME)
    assert harness.ship()
    assert harness.done() == {f"2025/07/29/{NAME}": b"older", "2025/07/29/20250729_161500_1.xml": XML}


def test_done_may_lie_on_another_file_system(harness: Harness, done_elsewhere: Path) -> None:
    harness.write(NAME)
    modified_ns = (harness.folder / NAME).stat().st_mtime_ns
    report = harness.ship()
    assert (report.exit_code, report.notes) == (0, ())
    (moved,) = (path for path in done_elsewhere.rglob("*") if path.is_file())
    assert (moved.read_bytes(), moved.stat().st_mtime_ns) == (XML, modified_ns)
    assert harness.left() == []
