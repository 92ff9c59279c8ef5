"""Which laps a report compares where telemetry is incomplete: of one car, without speed, by a stopped clock, none."""

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.reports.session_report import SessionFacts, facts_of, render_report
from apex_pipeline.reports.session_report.traces import Traces
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.distance.driven_lake import HARBOR_1
from apex_pipeline_tests.lake.tables import parquet_bytes, publish_tables

_Kept = Callable[..., SessionFacts]


@pytest.fixture
def kept(driven_lake: Path, tmp_path: Path) -> _Kept:
    """Return the facts of the race if only some of its cars had sent telemetry, and only some laps were valid."""

    def facts(*cars: str, laps: tuple[int, ...] = (1, 2, 3)) -> SessionFacts:
        catalog = open_catalog(driven_lake)
        record = catalog.snapshot.session(HARBOR_1)
        assert record is not None
        source, store = LocalStore(driven_lake, DigestCache()), LocalStore(tmp_path / "lake", DigestCache())
        (tmp_path / "lake").mkdir()
        contents = {name: source.read_bytes(object_key(table.sha256)) for name, table in record.tables.items()}
        clocks = catalog.table_arrow("telemetry_cars", *HARBOR_1)
        sent = pc.is_in(clocks["vehicle_id"], value_set=pa.array([f"GR86-0{car}-{car}" for car in cars], pa.string()))
        contents["telemetry_cars"] = parquet_bytes(clocks.filter(sent))
        driven = catalog.table_arrow("laps", *HARBOR_1)
        is_valid = pc.is_in(driven["lap_number"], value_set=pa.array(laps, pa.int64()))
        place = driven.schema.get_field_index("is_valid")
        contents["laps"] = parquet_bytes(driven.set_column(place, driven.schema.field(place), is_valid))
        publish_tables(store, HARBOR_1, contents=contents)
        return facts_of(open_catalog(tmp_path / "lake").session(*HARBOR_1))

    return facts


def _traces(facts: SessionFacts) -> Traces:
    assert isinstance(facts.traces, Traces), facts.traces
    return facts.traces


def _said(facts: SessionFacts) -> str:
    return re.sub(r"<[^>]+>", " ", render_report(facts))


def test_a_car_alone_is_compared_with_itself(kept: _Kept) -> None:
    facts = kept("13")
    first, second = _traces(facts).laps
    assert first.vehicle_id == second.vehicle_id
    assert first.number != second.number
    assert "The two best laps on distance" in _said(facts)


def test_one_lap_stands_alone_and_has_no_delta(kept: _Kept) -> None:
    facts = kept("13", laps=(2,))
    assert [lap.number for lap in _traces(facts).laps] == [2]
    text = _said(facts)
    assert "The best lap on distance" in text
    assert "No other lap has telemetry to compare." in text
    assert "Delta:" not in text


def test_a_car_with_speed_is_compared_with_one_that_has_gps_only_if_there_is_no_other(kept: _Kept) -> None:
    facts = kept("13", "7", laps=(2,))
    assert {lap.car_number for lap in _traces(facts).laps} == {"13", "7"}
    text = _said(facts)
    assert "#7 lap 2 has no speed." in text
    assert "Delta:" in text
    assert "by GPS on the line of the track" in text


def test_laps_with_gps_only_have_a_delta_and_a_map_without_colours(kept: _Kept) -> None:
    facts = kept("7")
    assert len(_traces(facts).laps) == 2
    text = _said(facts)
    assert "Delta:" in text
    assert "No lap with telemetry has a speed to colour it by." in text


def test_a_lap_alone_without_channels_has_nothing_to_draw_and_needs_no_script(kept: _Kept) -> None:
    facts = kept("7", laps=(2,))
    _traces(facts).on_distance[0].channels.clear()
    page = render_report(facts)
    assert "The laps have no channel that is drawn here." in page
    assert "<script" not in page


def test_laps_that_are_not_whole_are_not_drawn(kept: _Kept) -> None:
    assert kept("98").traces == "No valid lap has telemetry that can be put on the distance of the track."


def test_a_stopped_clock_gives_no_delta(kept: _Kept) -> None:
    facts = kept("80")
    assert isinstance(facts.traces, str) or facts.traces.delta is None


def test_without_a_valid_lap_the_report_says_so(kept: _Kept) -> None:
    facts = kept("13", laps=())
    assert facts.traces == "No valid lap has telemetry that can be put on the distance of the track."
    assert "No car has a valid lap with a time." in _said(facts)
