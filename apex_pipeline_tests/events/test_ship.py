"""One pass over a folder, against real servers: keys, metadata, order, and what becomes of the files."""

import gzip
import hashlib
import json

import pytest

from apex_pipeline.events.journal import EntryState
from apex_pipeline.events.report import ShipStatus
from apex_pipeline.events.ship import Limits, pending_files, ship_once
from apex_pipeline.storage.s3.once import WriteOnceStore
from apex_pipeline_tests.events.harness import KEY, NAME, STAMP, XML, Harness, only, statuses
from apex_pipeline_tests.servers.fault_proxy import FaultProxy

_ILL_FORMED = b"<EVENTS><plasectrxPanel date>12</plasectrxPanel></EVENTS>\n"


@pytest.mark.req("B-007", "B-020")
def test_a_file_is_in_the_bucket_unchanged_and_then_in_done(harness: Harness) -> None:
    harness.write(NAME)
    report = harness.ship()
    assert report
    assert report.exit_code == 0
    assert harness.objects() == {KEY: XML}
    assert harness.left() == []
    assert harness.done() == {f"2025/07/29/{NAME}": XML}


@pytest.mark.req("B-008")
def test_the_object_says_where_it_is_from(harness: Harness) -> None:
    harness.write(NAME)
    ship_once(harness.config(event_source="Boxenmauer Süd"), run_id="run-7")
    metadata = harness.metadata(KEY)
    assert metadata["source"] == "Boxenmauer S%C3%BCd"
    assert metadata["sha256"] == hashlib.sha256(XML).hexdigest()
    assert metadata["original_name"] == NAME
    assert metadata["pipeline_run_id"] == "run-7"
    assert metadata["wellformed"] == "true"
    assert metadata["uploaded_at"].endswith("Z")


@pytest.mark.req("B-007")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (NAME, "application/xml"),
        ("20250729_161500.XML", "application/xml"),
        ("20250729_161500.json", "application/json"),
        ("20250729_161500.csv", "text/csv"),
        ("20250729_161500.parquet", "application/vnd.apache.parquet"),
        ("20250729_161500.xml.gz", "application/gzip"),
        ("20250729_161500", "application/octet-stream"),
    ],
)
def test_the_content_type_goes_by_the_ending(harness: Harness, name: str, expected: str) -> None:
    harness.write(name, b"[1]" if name.endswith("json") else XML)
    assert harness.ship()
    head = harness.bucket.client.head_object(Bucket=harness.bucket.name, Key=f"xml-events/{name}")
    assert head["ContentType"] == expected


@pytest.mark.req("B-004")
def test_date_folders_hold_the_files_of_real_dates(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    for name in (NAME, "R1_barber_events.xml", "20251399_161500.xml", "20250231_000000.xml"):
        harness.write(name)
    assert harness.ship(use_date_folders=True)
    assert set(harness.objects()) == {
        f"xml-events/2025/07/29/{NAME}",
        *("xml-events/R1_barber_events.xml", "xml-events/20251399_161500.xml", "xml-events/20250231_000000.xml"),
    }
    assert "Could not parse date from filename: R1_barber_events.xml" in caplog.text


@pytest.mark.req("B-021")
def test_an_ill_formed_file_is_marked_and_not_rewritten(harness: Harness) -> None:
    harness.write(NAME, _ILL_FORMED)
    assert harness.ship()
    key = "xml-events/20250729_161500_raw.xml"
    assert harness.objects() == {key: _ILL_FORMED}
    assert harness.metadata(key)["wellformed"] == "false"
    assert harness.metadata(key)["original_name"] == NAME
    assert list(harness.done()) == [f"2025/07/29/{NAME}"]


def test_another_file_of_the_same_name_overwrites_nothing(harness: Harness) -> None:
    contents = [XML, XML.replace(b"lap", b"pit"), XML.replace(b"lap", b"flag")]
    for content in contents:
        harness.write(NAME, content)
        assert harness.ship()
    expected = dict(zip(("", "_1", "_2"), contents, strict=True))
    assert harness.objects() == {f"xml-events/20250729_161500{end}.xml": body for end, body in expected.items()}
    assert harness.done() == {f"2025/07/29/20250729_161500{end}.xml": body for end, body in expected.items()}


def test_the_same_file_again_is_not_sent_again(proxied: Harness, fault_proxy: FaultProxy) -> None:
    for expected in (ShipStatus.SHIPPED, ShipStatus.UNCHANGED):
        proxied.write(NAME)
        assert only(proxied.ship()).status is expected
    assert fault_proxy.count("PUT", "xml-events/") == 1
    assert proxied.done() == {f"2025/07/29/{NAME}": XML}


def test_a_lost_journal_is_made_again_from_the_bucket(proxied: Harness, fault_proxy: FaultProxy) -> None:
    proxied.write(NAME)
    proxied.ship(events_on_success="keep")
    for path in proxied.state_dir.glob("events.sqlite*"):
        path.unlink()
    assert only(proxied.ship(events_on_success="keep")).status is ShipStatus.UNCHANGED
    assert fault_proxy.count("PUT", "xml-events/") == 1
    (entry,) = proxied.entries()
    assert (entry.state, entry.key, entry.sha256) == (EntryState.DELIVERED, KEY, hashlib.sha256(XML).hexdigest())


def test_an_object_of_another_tool_is_recognized_by_its_bytes(harness: Harness) -> None:
    harness.bucket.client.put_object(Bucket=harness.bucket.name, Key=KEY, Body=XML)
    harness.write(NAME)
    assert only(harness.ship()).status is ShipStatus.UNCHANGED
    other = XML.replace(b"lap", b"pit")
    harness.write(NAME, other)
    assert only(harness.ship()).key == "xml-events/20250729_161500_1.xml"
    assert harness.objects()[KEY] == XML


def test_a_kept_file_takes_no_request_in_the_next_pass(proxied: Harness, fault_proxy: FaultProxy) -> None:
    proxied.write(NAME)
    proxied.ship(events_on_success="keep")
    before = len(fault_proxy.requests)
    assert proxied.ship(events_on_success="keep").files == ()
    assert len(fault_proxy.requests) == before
    assert proxied.left() == [NAME]


def test_a_kept_file_that_is_edited_is_shipped_under_another_name(harness: Harness) -> None:
    harness.write(NAME)
    harness.ship(events_on_success="keep")
    harness.write(NAME, XML * 2)
    assert only(harness.ship(events_on_success="keep")).key == "xml-events/20250729_161500_1.xml"


def test_a_kept_file_that_is_only_touched_is_not_sent_again(proxied: Harness, fault_proxy: FaultProxy) -> None:
    path = proxied.write(NAME)
    proxied.ship(events_on_success="keep")
    path.chmod(0o600)
    before = len(fault_proxy.requests)
    assert only(proxied.ship(events_on_success="keep")).status is ShipStatus.UNCHANGED
    assert proxied.ship(events_on_success="keep").files == ()
    assert len(fault_proxy.requests) == before


def test_delete_removes_a_file_when_it_is_in_the_bucket(harness: Harness) -> None:
    harness.write(NAME)
    assert harness.ship(events_on_success="delete")
    assert (harness.left(), harness.done(), harness.objects()) == ([], {}, {KEY: XML})


def test_gzip_adds_its_ending_and_no_encoding(harness: Harness) -> None:
    harness.write(NAME)
    assert harness.ship(events_compress="gzip")
    (key,) = harness.objects()
    assert key == f"{KEY}.gz"
    assert gzip.decompress(harness.objects()[key]) == XML
    head = harness.bucket.client.head_object(Bucket=harness.bucket.name, Key=key)
    assert not head.get("ContentEncoding")
    harness.write(NAME)
    assert only(harness.ship(events_compress="gzip")).status is ShipStatus.UNCHANGED


@pytest.mark.req("B-019")
@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_a_large_file_is_sent_in_parts_and_never_overwrites(harness: Harness, compress: str) -> None:
    first, second = bytes(range(256)) * 80_000, bytes(range(255, -1, -1)) * 80_000  # 20 MB: three parts
    keys: list[str | None] = []
    for content in (first, second, first):
        harness.write("20250729_161500.bin", content)
        report = harness.ship(events_compress=compress)
        assert report
        keys.append(only(report).key)
    end = ".gz" if compress == "gzip" else ""
    stem = "xml-events/20250729_161500"
    names = [f"{stem}.bin{end}", f"{stem}_1.bin{end}", f"{stem}.bin{end}"]
    assert keys == names
    bodies = harness.objects()
    unpacked = {key: gzip.decompress(body) if end else body for key, body in bodies.items()}
    assert unpacked == {names[0]: first, names[1]: second}


@pytest.mark.parametrize("concurrency", [1, 4])
def test_files_go_in_the_order_of_their_stamps_and_names(
    proxied: Harness, fault_proxy: FaultProxy, concurrency: int
) -> None:
    names = [f"20250729_1615{second:02d}{end}.xml" for second in range(6) for end in ("", "_1")]
    for name in reversed(names):
        proxied.write(name, XML.replace(b"lap", name.encode()))
    report = proxied.ship(events_concurrency=concurrency)
    assert [file.name for file in report.files] == names
    sent = [request.path.rpartition("/")[2] for request in fault_proxy.requests if request.method == "PUT"]
    shipped = [name for name in sent if not name.startswith("probe")]
    assert sorted(shipped) == sorted(names)
    assert concurrency > 1 or shipped == names


def test_a_store_without_conditional_writes_overwrites_nothing_either(old_harness: Harness) -> None:
    for content in (XML, XML.replace(b"lap", b"pit"), XML):
        old_harness.write(NAME, content)
        assert old_harness.ship()
    assert old_harness.objects() == {KEY: XML, "xml-events/20250729_161500_1.xml": XML.replace(b"lap", b"pit")}


def test_a_pass_ends_at_its_limit_and_the_next_one_goes_on(harness: Harness) -> None:
    for second in range(5):
        harness.write(f"20250729_16150{second}.xml", XML * (second + 1))
    assert len(pending_files(harness.config())) == 5
    report = ship_once(harness.config(), limits=Limits(files=2))
    assert report
    assert [file.status for file in report.files] == [ShipStatus.SHIPPED] * 2 + [ShipStatus.WAITING] * 3
    assert report.oldest_waiting is not None
    report = ship_once(harness.config(), limits=Limits(bytes=len(XML) * 3 + 1))
    assert len(report.delivered) == 2
    assert [file.name for file in pending_files(harness.config())] == ["20250729_161504.xml"]


def test_the_report_can_be_read_by_programs(harness: Harness) -> None:
    harness.write(NAME)
    harness.write("20250729_161501.xml", b"")
    facts = json.loads(json.dumps(harness.ship().facts()))
    assert (facts["shipped"], facts["waiting"], facts["bytes"], facts["exit_code"]) == (1, 1, len(XML), 0)
    assert facts["oldest_waiting"]["name"] == "20250729_161501.xml"


def test_files_that_were_never_finished_are_never_taken(harness: Harness) -> None:
    names = ["current.xml", ".20250729_161500.xml", "..xml", "a.tmp", "a.xml.part", "a.xml~"]
    for name in names:
        harness.write(name)
    assert harness.ship().files == ()
    assert harness.left() == sorted(names)


def test_claims_leave_no_folder_behind(harness: Harness) -> None:
    harness.write(NAME)
    harness.ship()
    assert [path.name for path in harness.folder.iterdir()] == ["done"]


def test_what_a_killed_process_left_claimed_goes_first(harness: Harness) -> None:
    claimed = harness.folder / ".claimed" / "another-host"
    claimed.mkdir(parents=True)
    harness.write(NAME, XML * 2).rename(claimed / NAME)
    harness.write(NAME)
    report = harness.ship()
    assert [file.key for file in report.files] == [KEY, KEY.replace(".xml", "_1.xml")]
    assert harness.objects()[KEY] == XML * 2
    assert statuses(report) == {NAME: ShipStatus.SHIPPED}
    assert not (harness.folder / ".claimed").exists()


def test_one_listing_finds_the_free_keys_of_many_new_files(proxied: Harness, fault_proxy: FaultProxy) -> None:
    names = [f"20250729_16150{second}.xml" for second in range(8)]
    proxied.bucket.client.put_object(Bucket=proxied.bucket.name, Key=f"xml-events/{names[3]}", Body=b"another file")
    for name in names:
        proxied.write(name)
    assert proxied.ship()
    assert fault_proxy.count("HEAD", "xml-events") == 2  # of the one that is taken, and of its other name
    keys = {f"xml-events/{name}" for name in names} | {"xml-events/20250729_161503_1.xml"}
    assert set(proxied.objects()) == keys
    assert proxied.objects()[f"xml-events/{names[3]}"] == b"another file"


def test_a_key_that_is_taken_after_the_listing_is_not_overwritten(
    proxied: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WriteOnceStore, "keys_after", lambda *_: [])  # as if it was written a moment later
    names = [f"20250729_16150{second}.xml" for second in range(5)]
    proxied.bucket.client.put_object(Bucket=proxied.bucket.name, Key=f"xml-events/{names[0]}", Body=b"another file")
    for name in names:
        proxied.write(name)
    assert proxied.ship()
    assert proxied.objects()[f"xml-events/{names[0]}"] == b"another file"
    assert proxied.objects()["xml-events/20250729_161500_1.xml"] == XML


def test_of_two_files_with_one_name_the_claimed_one_is_shipped_first_and_both_in_one_pass(harness: Harness) -> None:
    older = XML.replace(b"lap", b"pit")
    claimed = harness.folder / ".claimed" / "gone"
    claimed.mkdir(parents=True)
    harness.write(NAME, older).rename(claimed / NAME)
    harness.write(NAME)
    report = harness.ship()
    assert [file.status for file in report.files] == [ShipStatus.SHIPPED, ShipStatus.SHIPPED]
    assert harness.objects() == {KEY: older, f"xml-events/{STAMP}_1.xml": XML}
    assert harness.left() == []
