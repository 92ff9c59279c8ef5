"""``apex events records`` and ``bundle``: from delivered files to tables and parts, with the right exit codes."""

import gzip
import json
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex

_GOOD = b"<EVENTS><EVENT><N>1</N></EVENT><EVENT><N>2</N></EVENT></EVENTS>"


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of delivered files of two days, and a working directory for the lake."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "done"
    for day in ("28", "29"):
        (folder / "2025/07" / day).mkdir(parents=True)
        (folder / f"2025/07/{day}/202507{day}_161500.xml").write_bytes(_GOOD)
    return folder


def test_records_are_made_once_per_change(done: Path, apex: Apex) -> None:
    first = apex("events", "records", "--from", str(done))
    assert first.code == 0
    assert "2025-07-28  made" in first.out
    assert "2 events = 2 records + 0 rejected" in first.out
    again = json.loads(apex("events", "records", "--from", str(done), "--json").out)
    assert [(day["day"], day["is_made"]) for day in again] == [("2025-07-28", False), ("2025-07-29", False)]
    (one,) = json.loads(apex("events", "records", "--from", str(done), "--day", "2025-07-29", "--again", "--json").out)
    assert (one["day"], one["is_made"]) == ("2025-07-29", True)


def test_a_rejected_event_is_exit_1_with_its_reason(done: Path, apex: Apex) -> None:
    (done / "20250729_162000.xml").write_bytes(b"<EVENT>&x;</EVENT>" + _GOOD)
    result = apex("events", "records", "--from", str(done))
    assert result.code == 1
    assert "1 undeclared_entity: The event refers to an entity" in result.out
    (done / "20250729_162100.json").write_bytes(b'{"n":1e999}')
    assert "1 records have the flag big_number" in apex("events", "records", "--from", str(done)).out


def test_nothing_to_read_is_exit_2(done: Path, apex: Apex, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert apex("events", "records", "--from", str(tmp_path / "empty")).code == 2
    missing = apex("events", "records", "--from", str(done), "--day", "2025-07-30")
    assert missing.code == 2
    assert "delivered no file of 2025-07-30" in missing.error
    assert apex("events", "records", "--from", str(done), "--day", "yesterday").code == 2
    assert "BUCKET_NAME" in apex("events", "records").error


def test_a_bundle_is_made_of_the_records(done: Path, apex: Apex, tmp_path: Path) -> None:
    apex("events", "records", "--from", str(done))
    result = apex("events", "bundle", "2025-07-29", str(tmp_path / "out"), "--size", "128MB")
    assert result.code == 0
    (part,) = (tmp_path / "out").glob("*.json.gz")
    assert gzip.decompress(part.read_bytes()).count(b"\n") == 2
    assert f"{part.name}: 2 events of 1 files" in result.out
    assert apex("events", "bundle", "2025-07-29", str(tmp_path / "other"), "--size", "large").code == 2
