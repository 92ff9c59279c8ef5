"""Passes in trouble: a store that throttles, refuses or is gone, wrong keys and clocks, full and read-only disks."""

import errno
import re
import time
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.errors import ConfigurationError, SourceError, StorageFullError, StoreConfigError
from apex_pipeline.events.claims import Claims
from apex_pipeline.events.failures import ErrorClass
from apex_pipeline.events.journal import EntryState, Journal
from apex_pipeline.events.report import ShipStatus
from apex_pipeline.events.ship import ship_once
from apex_pipeline_tests.events.harness import KEY, NAME, XML, Harness, only, statuses
from apex_pipeline_tests.servers.fault_proxy import FOREVER, Exchange, FaultProxy, Reply
from apex_pipeline_tests.servers.faults import SLOW_DOWN, lose_reply, refuse, reset

_NAMES = [f"20250729_16150{second}.xml" for second in range(4)]


def _write_all(harness: Harness) -> None:
    for name in _NAMES:
        harness.write(name, XML.replace(b"lap", name.encode()))


def _pauses_of(harness: Harness, **settings: Any) -> tuple[list[float], Any]:
    pauses: list[float] = []
    report = ship_once(harness.config(**settings), sleep=pauses.append)
    return pauses, report


@pytest.mark.req("B-005", "B-009", "B-010")
def test_throttling_is_answered_with_growing_pauses(
    proxied: Harness, fault_proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxied.write(NAME)
    proxied.ship(events_on_success="keep")  # whether the store supports conditions is known from here on
    proxied.write(NAME, XML.replace(b"lap", b"pit"))
    fault_proxy.inject(SLOW_DOWN, method="HEAD", times=4)
    pauses, report = _pauses_of(proxied, retry_base_delay=1)
    assert report
    assert pauses == pytest.approx([1, 2, 4, 8], rel=0.1001)
    assert "S3 throttling error: 503, retrying in" in caplog.text


@pytest.mark.req("B-005")
def test_a_throttled_file_keeps_the_later_ones_waiting(
    proxied: Harness, fault_proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    _write_all(proxied)
    fault_proxy.inject(SLOW_DOWN, method="PUT", contains=_NAMES[1], times=FOREVER)
    report = proxied.ship(max_retries=3)
    expected = [ShipStatus.SHIPPED, ShipStatus.FAILED, ShipStatus.NOT_TRIED, ShipStatus.NOT_TRIED]
    assert statuses(report) == dict(zip(_NAMES, expected, strict=True))
    assert report.failures == {ErrorClass.THROTTLE: 1}
    assert report.exit_code == 1
    assert fault_proxy.count("PUT", _NAMES[1]) == 3
    assert "S3 throttling error: SlowDown, max retries exceeded" in caplog.text
    assert proxied.left() == _NAMES[1:]


def test_the_pause_that_the_store_asks_for_is_kept(proxied: Harness, fault_proxy: FaultProxy) -> None:
    def busy(exchange: Exchange) -> None:
        exchange.reply(Reply(503, (("Retry-After", "17"),), b"", 0))

    proxied.write(NAME)
    fault_proxy.inject(busy, method="HEAD", contains=NAME, times=1)
    pauses, report = _pauses_of(proxied)
    assert report
    assert pauses == [17]


@pytest.mark.parametrize("fault", [reset, lose_reply], ids=["reset", "lost reply"])
@pytest.mark.parametrize("method", ["HEAD", "PUT"])
def test_a_connection_that_breaks_neither_loses_nor_doubles_a_file(
    proxied: Harness, fault_proxy: FaultProxy, method: str, fault: Any
) -> None:
    _write_all(proxied)
    fault_proxy.inject(fault, method=method, contains="xml-events", first=2, times=2)
    assert proxied.ship()
    assert sorted(proxied.objects()) == [f"xml-events/{name}" for name in _NAMES]


@pytest.mark.req("B-011", "B-012", "B-022")
@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("InvalidAccessKeyId", 403, ErrorClass.AUTH),
        ("SignatureDoesNotMatch", 403, ErrorClass.AUTH),
        ("ExpiredToken", 400, ErrorClass.AUTH),
        ("AccessDenied", 403, ErrorClass.PERMISSION),
        ("AllAccessDisabled", 403, ErrorClass.PERMISSION),
        ("NoSuchBucket", 404, ErrorClass.CONFIG),
        ("AccessControlListNotSupported", 400, ErrorClass.CONFIG),
        ("RequestTimeTooSkewed", 403, ErrorClass.CLOCK),
    ],
)
def test_what_every_file_would_meet_stops_the_pass_at_once(
    proxied: Harness, fault_proxy: FaultProxy, code: str, status: int, expected: ErrorClass
) -> None:
    _write_all(proxied)
    fault_proxy.inject(refuse(status, code), method="PUT", contains="xml-events", first=2, times=FOREVER)
    report = proxied.ship()
    assert [file.status for file in report.files] == [
        *(ShipStatus.SHIPPED, ShipStatus.FAILED, ShipStatus.NOT_TRIED, ShipStatus.NOT_TRIED),
    ]
    assert report.failures == {expected: 1}
    assert report.exit_code == 2
    assert fault_proxy.count("PUT", "xml-events") == 2
    assert proxied.left() == _NAMES[1:]


def test_a_wrong_clock_is_told_with_the_difference(proxied: Harness, fault_proxy: FaultProxy) -> None:
    def skewed(exchange: Exchange) -> None:
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 1200))
        body = b"<Error><Code>RequestTimeTooSkewed</Code><Message>no</Message></Error>"
        exchange.reply(Reply(403, (("Date", date), ("Content-Type", "application/xml")), body, len(body)))

    proxied.write(NAME)
    fault_proxy.inject(skewed, method="PUT", contains=NAME, times=FOREVER)
    problem = str(only(proxied.ship()).problem)
    # The date of a reply has no fractions of a second.
    assert re.search(r"This machine is 1,(199|200) s behind the store\.", problem)
    assert "Set this machine's clock" in problem


@pytest.mark.req("B-011", "B-018")
def test_a_wrong_secret_is_told_from_a_missing_right(harness: Harness) -> None:
    harness.write(NAME)
    report = harness.ship(aws_secret_access_key="wrong")  # noqa: S106  -- not a secret
    assert report.failures == {ErrorClass.AUTH: 1}
    assert harness.left() == [NAME]


def test_a_bucket_that_is_missing_is_named(harness: Harness) -> None:
    harness.write(NAME)
    report = harness.ship(event_bucket="no-such-bucket")
    assert report.failures == {ErrorClass.CONFIG: 1}
    assert "Check BUCKET_NAME, AWS_REGION and S3_ENDPOINT_URL." in str(only(report).problem)


def test_a_bucket_that_is_deleted_while_files_are_shipped_stops_the_pass_and_loses_none(
    proxied: Harness, fault_proxy: FaultProxy
) -> None:
    _write_all(proxied)

    def delete_bucket(exchange: Exchange) -> None:
        client, name = proxied.bucket.client, proxied.bucket.name
        for key in proxied.bucket.object_keys():
            client.delete_object(Bucket=name, Key=key)
        client.delete_bucket(Bucket=name)
        exchange.reply(exchange.ask_server())

    fault_proxy.inject(delete_bucket, method="PUT", contains=_NAMES[1], times=1)
    report = proxied.ship()
    proxied.bucket.client.create_bucket(Bucket=proxied.bucket.name)
    assert (report.failures, report.exit_code) == ({ErrorClass.CONFIG: 1}, 2)
    assert len(report.of(ShipStatus.NOT_TRIED)) == 2
    assert proxied.left() == _NAMES[1:]
    assert proxied.ship()
    assert sorted(proxied.objects()) == [f"xml-events/{name}" for name in _NAMES[1:]]


def test_a_store_without_an_address_keeps_the_files_for_later(harness: Harness) -> None:
    harness.write(NAME)
    report = harness.ship(s3_endpoint_url="http://127.0.0.1:1", max_retries=2)
    assert report.failures == {ErrorClass.NETWORK: 1}
    assert report.exit_code == 1
    assert harness.ship()
    assert harness.objects() == {KEY: XML}


def test_a_file_that_is_itself_at_fault_does_not_hold_up_the_rest(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_all(harness)
    unreadable = harness.folder / ".claimed"
    real_open = Path.open

    def refuse_one(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == _NAMES[1] and unreadable in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse_one)
    report = harness.ship()
    assert report.failures == {ErrorClass.DATA: 1}
    assert len(report.delivered) == 3
    assert report.exit_code == 1
    assert harness.left() == [_NAMES[1]]
    states = {entry.name: entry.state for entry in harness.entries()}
    assert states[_NAMES[1]] is EntryState.FAILED


def test_a_file_that_is_written_to_while_it_is_sent_is_put_back_and_shipped_again(
    proxied: Harness, fault_proxy: FaultProxy
) -> None:
    added = b"<!-- more -->"

    def append(exchange: Exchange) -> None:
        with next((proxied.folder / ".claimed").rglob("*.xml")).open("ab") as file:
            file.write(added)
        exchange.reply(exchange.ask_server())

    fault_proxy.inject(append, method="PUT", contains=_NAMES[0])
    proxied.write(_NAMES[0])
    report = proxied.ship()
    assert report.failures == {ErrorClass.DATA: 1}
    assert "was written to while it was sent" in str(only(report).problem)
    assert proxied.left() == [_NAMES[0]]
    assert proxied.ship().exit_code == 0
    stem = _NAMES[0].removesuffix(".xml")
    assert proxied.objects() == {f"xml-events/{stem}.xml": XML, f"xml-events/{stem}_1.xml": XML + added}
    assert list(proxied.done().values()) == [XML + added]


def test_a_file_that_vanishes_is_no_failure(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_all(harness)
    monkeypatch.setattr(Claims, "mark_alive", lambda _: (harness.folder / _NAMES[2]).unlink(missing_ok=True))
    report = harness.ship()
    assert statuses(report)[_NAMES[2]] is ShipStatus.GONE
    assert report.exit_code == 0


@pytest.mark.parametrize("kind", ["read-only", "no links and full"])
def test_a_folder_that_cannot_be_changed_is_shipped_and_recorded(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def refuse_to_move(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS if kind == "read-only" else errno.ENOSPC, "no")

    _write_all(harness)
    method = "_take" if kind == "read-only" else "move_to_done"
    monkeypatch.setattr(Claims, method, refuse_to_move)
    report = harness.ship()
    assert report.exit_code == 0
    assert len(report.delivered) == 4
    assert any("shipped, but stays where it is" in note for note in report.notes)
    assert harness.left() == _NAMES
    assert {entry.state for entry in harness.entries()} == {EntryState.DELIVERED}
    monkeypatch.undo()
    monkeypatch.chdir(harness.folder.parent)
    assert {file.status for file in harness.ship().files} == {ShipStatus.UNCHANGED}
    assert harness.left() == []
    assert len(harness.done()) == len(harness.objects()) == 4


def test_without_room_for_the_journal_nothing_is_sent(
    proxied: Harness, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageFullError("The journal cannot be written: the disk is full.", "Free some space.")

    _write_all(proxied)
    monkeypatch.setattr(Journal, "put", full)
    report = proxied.ship()
    assert report.exit_code == 2
    assert proxied.left() == _NAMES
    assert fault_proxy.count("PUT", "xml-events") == 0


def test_a_state_folder_that_cannot_be_made_is_named(harness: Harness) -> None:
    harness.state_dir.write_text("a file")
    with pytest.raises(StoreConfigError, match="APEX_STATE_DIR"):
        harness.ship()


def test_a_damaged_journal_is_kept_and_made_again(harness: Harness) -> None:
    harness.state_dir.mkdir()
    (harness.state_dir / "events.sqlite").write_bytes(b"no database" * 1000)
    harness.write(NAME)
    assert harness.ship()
    assert len(list(harness.state_dir.glob("events.damaged-*"))) == 1


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_wrong_folder_is_reported_before_anything_is_made(harness: Harness, kind: str) -> None:
    harness.folder.rmdir()
    if kind == "file":
        harness.folder.write_text("x")
    with pytest.raises(SourceError, match="does not exist" if kind == "missing" else "is not a folder"):
        harness.ship()
    assert not harness.state_dir.exists()


@pytest.mark.req("B-001")
def test_without_a_bucket_the_variable_is_named(harness: Harness) -> None:
    with pytest.raises(ConfigurationError, match="BUCKET_NAME environment variable is required"):
        harness.config(event_bucket=None)
