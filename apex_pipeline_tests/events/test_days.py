"""The records of a day are made whole from the delivered files; records and rejects together are all events."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.errors import ConfigurationError, ReconciliationError, SourceError
from apex_pipeline.events.arrow_columns import record_batch
from apex_pipeline.events.days import DayFiles, delivered_files, read_report, stale_days
from apex_pipeline.events.delivered import Delivered, open_delivered, privacy_problem, require_private
from apex_pipeline.events.event_keys import DayKey, day_report_key, parse_day_key, records_key
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.events.mapping import ColumnMapping, SourceMapping, load_mapping
from apex_pipeline.storage.factory import open_store_at
from apex_pipeline.tables.events import RECORDS
from apex_pipeline.tables.model import Column, Row, Table
from apex_pipeline_tests.events.days import DAY, KEY, SOURCE, Deliveries

_GOOD = b'<EVENTS><EVENT time="2025-07-29T16:15:00+02:00" type="pit"><CAR>7</CAR><WHO>Ann</WHO></EVENT></EVENTS>'


@pytest.fixture
def deliveries(tmp_path: Path) -> Deliveries:
    found = Deliveries(tmp_path)
    found.deliver("20250729_161500.xml", _GOOD)
    return found


def test_a_record_says_what_happened_when_and_where_it_is_from(deliveries: Deliveries) -> None:
    report = deliveries.make()
    (row,) = deliveries.records()
    assert row["event_time_utc"] == datetime(2025, 7, 29, 14, 15, tzinfo=UTC)
    assert (row["event_type"], row["source"], row["file"]) == ("pit", SOURCE, "xml-events/20250729_161500.xml")
    assert (row["position_in_file"], row["byte_offset"], len(row["event_id"])) == (0, 8, 32)
    assert json.loads(row["payload"])["CAR"] == "7"
    assert (report.events, report.records, report.rejected, report.files) == (1, 1, 0, 1)


def test_the_files_match_their_schemas(deliveries: Deliveries) -> None:
    deliveries.deliver("20250729_161600.json", b'[{"a":1,"a":2},{"n":NaN}]')
    deliveries.make()
    with deliveries.lake.open_as_file(records_key(KEY, is_private=False)) as path:
        assert RECORDS.violations(pq.read_table(path, partitioning=None)) == []


def test_records_and_rejects_are_all_events_and_each_reject_has_its_place(deliveries: Deliveries) -> None:
    bad = b"<EVENTS>\n<EVENT><A>1</B></EVENT><EVENT/></EVENTS>"
    deliveries.deliver("20250729_161600.xml", bad)
    deliveries.deliver("20250729_161700.json", b'{"a":1}\n{"a":NaN}\n')
    report = deliveries.make()
    assert (report.events, report.records, report.rejected) == (5, 3, 2)
    assert report.reasons == {"malformed_xml": 1, "not_a_number": 1}
    first, second = deliveries.rejects()
    assert (first["file"], first["byte_offset"], first["length"], first["line"]) == (
        "xml-events/20250729_161600.xml",
        9,
        23,
        2,
    )
    assert first["content"] == b"<EVENT><A>1</B></EVENT>"
    assert second["reason"] == "not_a_number"


def test_a_day_with_events_that_are_nowhere_is_not_written(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(self: DayFiles, *_: object) -> None:
        self.events += 1

    monkeypatch.setattr(DayFiles, "add", lose)
    with pytest.raises(ReconciliationError, match="Of 1 events"):
        deliveries.make()
    assert list(deliveries.lake.list()) == []


def test_a_day_without_files_is_not_replaced(deliveries: Deliveries) -> None:
    deliveries.make()
    with pytest.raises(SourceError, match="delivered no file of 2025-07-30"):
        deliveries.make(DayKey(SOURCE, "2025-07-30"))
    assert len(deliveries.records()) == 1


def test_files_belong_to_the_day_in_their_name_and_others_to_that_of_their_delivery(deliveries: Deliveries) -> None:
    for name in ("2025/07/28/20250728_235959.xml", "gateway.json", "20250231_000000.xml.gz", "notes.txt"):
        deliveries.deliver(name, b"[]")
    today = datetime.now(UTC).date()
    found = {
        day: [info.key[11:] for info in files]
        for day, files in delivered_files(deliveries.store, "xml-events/").items()
    }
    assert found == {
        date(2025, 7, 28): ["2025/07/28/20250728_235959.xml"],
        date(2025, 7, 29): ["20250729_161500.xml"],
        today: ["20250231_000000.xml.gz", "gateway.json"],
    }


def test_only_days_with_other_files_or_another_mapping_are_stale(deliveries: Deliveries) -> None:
    def stale() -> list[str]:
        found = stale_days(deliveries.store, deliveries.lake, SOURCE, "xml-events/", deliveries.mapping)
        return [key.day for key, _ in found]

    assert stale() == [DAY]
    deliveries.make()
    assert stale() == []
    deliveries.deliver("20250729_161500_1.xml", _GOOD)
    assert stale() == [DAY]
    deliveries.make()
    deliveries.mapping = SourceMapping(columns={"car": ColumnMapping(path="CAR")})
    assert stale() == [DAY]
    deliveries.make()
    deliveries.lake.write_bytes(day_report_key(KEY), b"{")
    assert read_report(deliveries.lake, KEY) is None
    assert stale() == [DAY]


def test_equal_content_in_two_files_gives_different_ids(deliveries: Deliveries) -> None:
    deliveries.deliver("20250729_161500_1.xml", _GOOD)
    deliveries.make()
    assert len({row["event_id"] for row in deliveries.records()}) == 2


_MAPPING = """
sources:
  pit-wall:
    event_time: ["@time"]
    columns:
      car: {path: CAR, kind: integer, description: Start number., unit: none}
      who: {path: WHO, personal: true}
      badge: {path: BADGE/@id, personal: true}
    personal: [BADGE/PLATE]
"""


@pytest.fixture
def mapping(tmp_path: Path) -> SourceMapping:
    path = tmp_path / "mapping.yaml"
    path.write_text(_MAPPING, encoding="utf-8")
    return load_mapping(path, SOURCE)


@pytest.mark.req("K-26", "A-100")
def test_what_is_personal_is_null_in_the_public_records_and_kept_in_the_private_ones(
    tmp_path: Path, mapping: SourceMapping
) -> None:
    deliveries = Deliveries(tmp_path, mapping)
    badge = b'<p:BADGE xmlns:p="urn:p" id="77"><p:PLATE>AB 1</p:PLATE><p:KIND>vip</p:KIND></p:BADGE>'
    deliveries.deliver("20250729_161500.xml", _GOOD.replace(b"</WHO>", b"</WHO>" + badge))
    deliveries.deliver(
        "20250729_161600.json", b'[{"CAR":"x","WHO":["Ann","Bea"],"BADGE":{"@id":5,"PLATE":"AB 1"}},{"WHO":"Ann}]'
    )
    deliveries.make()
    private, public = deliveries.records(is_private=True), deliveries.records()
    assert [(row["car"], row["who"], row["badge"]) for row in private] == [(7, "Ann", "77"), (None, "Ann", "5")]
    assert [(row["car"], row["who"], row["badge"]) for row in public] == [(7, None, None), (None, None, None)]
    assert "vip" in public[0]["payload"]
    for word in ("Ann", "Bea", "AB 1", "77"):
        assert word in str(private)
    public_bytes = b"".join(
        Path(deliveries.lake.uri, info.key).read_bytes()
        for info in deliveries.lake.list()
        if not info.key.startswith("private/")
    )
    assert not [word for word in (b"Ann", b"Bea", b"AB 1") if word in public_bytes]
    assert not [word for word in ("Ann", "Bea", "AB 1", "77") if word in str(public)]
    assert len(deliveries.rejects(is_private=True)) == 1
    assert mapping.table.schema.field("who").metadata[b"personal"] == b"true"


@pytest.mark.req("K-26")
def test_what_becomes_personal_later_leaves_nothing_public_behind(tmp_path: Path, mapping: SourceMapping) -> None:
    before = Deliveries(tmp_path)
    before.deliver("20250729_161500.json", b'{"WHO":"Ann"}\n{"WHO":"Bea')
    before.make()
    assert len(before.rejects()) == 1
    after = Deliveries(tmp_path, mapping)
    after.make()
    assert len(after.rejects(is_private=True)) == 1
    public = [info.key for info in after.lake.list() if not info.key.startswith("private/")]
    assert not [key for key in public if "rejects" in key]
    assert not [key for key in public if b"Bea" in Path(after.lake.uri, key).read_bytes()]


@pytest.mark.req("K-26")
def test_personal_files_must_be_delivered_to_a_private_place(mapping: SourceMapping, tmp_path: Path) -> None:
    settings = load_settings(event_bucket="events", event_prefix="xml-events/")
    public = open_delivered(settings)
    assert "personal fields" in (privacy_problem(public, mapping) or "")
    with pytest.raises(ConfigurationError, match="private/xml-events/"):
        require_private(public, mapping)
    require_private(public, SourceMapping())
    require_private(open_delivered(load_settings(event_bucket="events", event_prefix="private/xml-events/")), mapping)
    require_private(Delivered(open_store_at(str(tmp_path), settings), ""), mapping)
    assert privacy_problem(open_delivered(settings, "s3://events/open"), mapping)
    assert not privacy_problem(open_delivered(settings, "s3://events/private/x"), mapping)


def test_without_a_bucket_the_place_of_the_files_must_be_named() -> None:
    with pytest.raises(ConfigurationError, match="BUCKET_NAME environment variable is required"):
        open_delivered(load_settings())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sources: [", "cannot be read"),
        ("sources: {pit-wall: {colums: {}}}", "colums"),
        ("sources: {pit-wall: {columns: {who: {path: a//b}}}}", "is not a path"),
        ("sources: {pit-wall: {columns: {payload: {path: a}}}}", "columns that every record has: payload"),
        ("sources: {pit-wall: {columns: {Who: {path: a}}}}", "Who"),
    ],
)
def test_a_mapping_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=problem):
        load_mapping(path, SOURCE)


def test_columns_have_the_kind_of_the_mapping_and_null_where_a_value_has_not(tmp_path: Path) -> None:
    kinds = {"n": "integer", "x": "float", "b": "boolean", "t": "timestamp_utc", "s": "string"}
    columns = {name: ColumnMapping.model_validate({"path": name, "kind": kind}) for name, kind in kinds.items()}
    deliveries = Deliveries(tmp_path, SourceMapping(columns=columns))
    rows = [
        {"n": "7", "x": "1.5", "b": "Yes", "t": "2025-07-29T16:15:00.250Z", "s": "a"},
        {"n": "7.5", "x": "-", "b": "maybe", "t": "noon", "s": {"#text": "b"}},
        {"n": 2**70, "x": 2, "b": False, "t": 1_753_805_700, "s": ""},
        {"n": [8, 9], "x": None, "b": 1, "t": "1753805700000", "s": {"c": 1}},
    ]
    deliveries.deliver("20250729_161500.json", json.dumps(rows).encode())
    deliveries.make()
    found = deliveries.records()
    moment = datetime(2025, 7, 29, 16, 15, tzinfo=UTC)
    assert [row["n"] for row in found] == [7, None, None, 8]
    assert [row["x"] for row in found] == [1.5, None, 2.0, None]
    assert [row["b"] for row in found] == [True, None, False, True]
    assert [row["t"] for row in found] == [moment.replace(microsecond=250_000), None, moment, moment]
    assert [row["s"] for row in found] == ["a", "b", None, None]


@pytest.mark.parametrize("text", ["1_000", "nan", "Infinity", "١٢", "0x1F", "9" * 5_000])
def test_what_only_python_takes_for_a_number_is_null(tmp_path: Path, text: str) -> None:
    columns = {kind: ColumnMapping.model_validate({"path": "n", "kind": kind}) for kind in ("integer", "float")}
    deliveries = Deliveries(tmp_path, SourceMapping(columns=columns))
    deliveries.deliver("20250729_161500.json", json.dumps({"n": text}).encode())
    deliveries.make()
    (row,) = deliveries.records()
    assert row["integer"] is None
    assert row["float"] is None or len(text) > 300


def test_columns_are_those_that_arrow_itself_would_build() -> None:
    kinds = ("string", "category", "integer", "float", "boolean", "timestamp_utc", "string_list", "binary")
    columns = tuple(Column(kind, kind, "") for kind in kinds)
    table = Table("t", "events", "", columns, key=("string",))
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    full: Row = dict(zip(kinds, ("é", "x", -(2**63), 0.5, True, moment, ["a", "b"], b"\xff"), strict=True))
    empty: Row = dict.fromkeys(kinds)
    cases: list[list[Row]] = [[full], [full, full], [full, empty], [empty, full, full, empty] * 5, [empty], []]
    for rows in cases:
        built = pa.Table.from_batches([record_batch(rows, columns, table.schema)])
        built.validate(full=True)
        assert built.to_pylist() == table.from_rows(rows).to_pylist()


@pytest.mark.parametrize(
    "text", ["", "pit-wall", "pit-wall/2025-02-30", "../2025-07-29", "/2025-07-29", "a/b/2025-07-29"]
)
def test_a_text_that_is_no_source_and_day_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_day_key(text)


def test_the_text_of_a_day_is_read_back() -> None:
    assert parse_day_key(str(KEY)) == KEY
