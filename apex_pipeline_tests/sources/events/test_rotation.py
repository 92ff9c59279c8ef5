"""Names of rotated files: what is taken, stamps and days, order, and free names."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.sources.events import rotation


def test_a_name_is_made_of_the_time_in_utc() -> None:
    moment = datetime(2025, 7, 29, 18, 15, tzinfo=timezone(timedelta(hours=2)))
    assert rotation.rotated_name(moment) == "20250729_161500.xml"
    assert rotation.rotated_name(moment, ".json", 2) == "20250729_161500_2.json"
    with pytest.raises(ConfigurationError, match="no time zone"):
        rotation.rotated_name(datetime(2025, 7, 29))  # noqa: DTZ001  -- what is refused


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_stamp_is_read_back(moment: datetime) -> None:
    moment = moment.replace(year=max(moment.year, 1000), day=min(moment.day, 28), microsecond=0)
    name = rotation.rotated_name(moment)
    assert (rotation.stamp_of(name), rotation.date_of(name)) == (moment, moment.date())


@pytest.mark.parametrize(
    ("name", "has_stamp", "day"),
    [
        ("20250729_161500.xml", True, date(2025, 7, 29)),
        ("20250729_161500_1_raw.xml.gz", True, date(2025, 7, 29)),
        ("20250729_250000.xml", False, date(2025, 7, 29)),
        ("20250729.json", False, date(2025, 7, 29)),
        ("20250729_1615001.xml", False, date(2025, 7, 29)),
        ("20240229_000000.xml", True, date(2024, 2, 29)),
        ("20250229_000000.xml", False, None),
        ("20250231_000000.xml", False, None),
        ("20251399_000000.xml", False, None),
        ("00000000_000000.xml", False, None),
        ("19700101_000000.xml", True, date(1970, 1, 1)),
        ("99991231_235959.xml", True, date(9999, 12, 31)),
        ("202507291615.xml", False, None),
        ("R1_barber.xml", False, None),
        ("\u0662\u0660\u0662\u0665\u0660\u0667\u0662\u0669_161500.xml", False, None),
        ("", False, None),
    ],
)
def test_a_stamp_needs_a_real_time_and_a_day_a_real_date(name: str, *, has_stamp: bool, day: date | None) -> None:
    assert (rotation.stamp_of(name) is not None) == has_stamp
    assert rotation.date_of(name) == day


def test_files_are_in_the_order_of_stamp_and_name_and_others_by_their_time() -> None:
    noon_ns = int(datetime(2025, 7, 29, 12, tzinfo=UTC).timestamp()) * 10**9
    names = ["20250729_130000.xml", "20250729_120000_1.xml", "20250729_120000.xml", "20250729_110000.xml", "a.xml"]
    ordered = sorted(names, key=lambda name: rotation.order_of(name, noon_ns))
    assert ordered == [
        *("20250729_110000.xml", "20250729_120000.xml", "20250729_120000_1.xml", "a.xml", "20250729_130000.xml"),
    ]


@pytest.mark.parametrize("name", [".x.xml", "..xml", "current.xml", "Current.XML", "a.tmp", "a.xml.PART", "a.xml~"])
def test_what_is_hidden_or_unfinished_is_no_event_file(name: str) -> None:
    assert not rotation.is_event_name(name)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.XML", "xml"), ("a.json", "json"), ("a.ndjson", "json"), ("a.xml.gz", None), ("xml", None)]
)
def test_the_ending_says_what_a_file_is(name: str, kind: str | None) -> None:
    assert rotation.content_kind(name) == kind


def test_an_ill_formed_file_is_called_raw_once() -> None:
    assert rotation.raw_name("20250729_161500.xml.gz") == "20250729_161500_raw.xml.gz"
    assert rotation.raw_name("20250729_161500_raw.xml") == "20250729_161500_raw.xml"


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=120))
def test_a_numbered_name_fits_and_keeps_its_ending(stem: str) -> None:
    found = rotation.numbered(f"{stem}.xml", 12)
    assert found.endswith("_12.xml")
    assert len(found.encode()) <= 255
