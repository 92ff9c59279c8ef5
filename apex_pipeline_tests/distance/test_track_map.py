"""The line of a track learned from GPS: its units, its faults, and its map."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.distance import LapSamples, TrackLength, TrackLine, learn_line, track_map
from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.gps import Fixes, fixes_of
from apex_pipeline_tests.distance.driving import LENGTH_M, PLACE, Faults, drive

_LENGTH = TrackLength(LENGTH_M, "the demo's own", *PLACE)


def _moved(lap: LapSamples, latitude: Numbers, longitude: Numbers) -> LapSamples:
    return replace(lap, channels={**lap.channels, "latitude_deg": latitude, "longitude_deg": longitude})


def _nmea(degrees: Numbers) -> Numbers:
    size = np.abs(degrees)
    return np.sign(degrees) * (np.floor(size) * 100 + (size % 1) * 60)


_LAP = drive(faults=Faults(held_gps=True)).samples
_LATITUDE, _LONGITUDE = _LAP.channels["latitude_deg"], _LAP.channels["longitude_deg"]


@pytest.mark.parametrize(
    ("latitude", "longitude", "unit"),
    [
        (_LATITUDE, _LONGITUDE, "degrees"),
        (_LATITUDE, -_LONGITUDE, "degrees, west positive"),
        (_LATITUDE * 60, -_LONGITUDE * 60, "minutes, west positive"),
        (_LATITUDE * 60, _LONGITUDE * 60, "minutes"),
        (_nmea(_LATITUDE), _nmea(_LONGITUDE), "ddmm.mmmm"),
        (_nmea(_LATITUDE), -_nmea(_LONGITUDE), "ddmm.mmmm, west positive"),
    ],
)
def test_the_unit_of_a_receiver_is_told_by_where_the_track_lies(
    latitude: Numbers, longitude: Numbers, unit: str
) -> None:
    line = learn_line([_moved(_LAP, latitude, longitude)], PLACE)
    assert isinstance(line, TrackLine)
    assert line.unit == unit
    assert line.measured_m == pytest.approx(LENGTH_M, rel=0.03)


def test_latitude_and_longitude_may_come_in_different_rows() -> None:
    whole = learn_line([drive(faults=Faults(held_gps=False)).samples], PLACE)
    split = learn_line([drive(faults=Faults(split_gps=True)).samples], PLACE)
    assert isinstance(whole, TrackLine)
    assert isinstance(split, TrackLine)
    assert np.max(np.hypot(whole.east_m - split.east_m, whole.north_m - split.north_m)) < 6


def test_fixes_before_the_first_one_are_zero_and_left_out() -> None:
    early = _LAP.times_s < 0.0
    zeros = _moved(_LAP, np.where(early, 0, _LATITUDE), np.where(early, 0, _LONGITUDE))
    assert isinstance(learn_line([zeros], PLACE), TrackLine)


@pytest.mark.parametrize(
    ("lap", "place", "reason"),
    [
        (_moved(_LAP, 0 * _LATITUDE + 41.8, 0 * _LATITUDE - 87.6), PLACE, "stood still"),
        (_moved(_LAP, _LATITUDE * 1e-6 + PLACE[0], _LONGITUDE * 1e-6 + PLACE[1]), PLACE, "stood still"),
        (_moved(_LAP, _LATITUDE - 3, _LONGITUDE), PLACE, "another place, 333 km away"),
        (_moved(_LAP, _LATITUDE * 60, _LONGITUDE * 60), None, "cannot be told"),
        (replace(_LAP, channels={"speed_kph": _LAP.channels["speed_kph"]}), PLACE, "no GPS"),
        (replace(_LAP, track_length_m=LENGTH_M * 1.06), PLACE, "m long, the track"),
        (replace(_LAP, duration_s=_LAP.duration_s * 0.6), PLACE, "apart"),
        (drive(faults=Faults(holes=((40.0, 5.0),))).samples, PLACE, "no fix for 5"),
    ],
)
def test_positions_that_are_not_the_tracks_give_no_map_and_say_why(
    lap: LapSamples, place: tuple[float, float] | None, reason: str
) -> None:
    found = learn_line([lap], place)
    assert isinstance(found, str)
    assert reason in found
    known = replace(_LENGTH, latitude_deg=place and place[0], longitude_deg=place and place[1])
    drawn = track_map([lap], known).geojson()
    (track,) = json.loads(json.dumps(drawn))["features"]
    assert (track["type"], track["geometry"]) == ("Feature", None)
    assert track["properties"]["length_m"] == LENGTH_M
    assert reason in track["properties"]["reason"]


def test_no_laps_give_no_line() -> None:
    assert learn_line([], PLACE) == "there are no laps"


def test_without_a_known_place_degrees_are_believed() -> None:
    assert isinstance(learn_line([_LAP], None), TrackLine)


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 6), st.floats(0, 0.04), st.floats(90, 120))
def test_fixes_of_another_lap_are_projected_to_where_the_car_was(phase: float, pace: float, time_s: float) -> None:
    line = learn_line([_LAP], PLACE)
    assert isinstance(line, TrackLine)
    lap = drive(time_s, pace, phase, Faults(held_gps=False))
    fixes = fixes_of(lap.samples, PLACE)
    assert isinstance(fixes, Fixes)
    times, along = line.project(fixes)
    inside = (times > 0) & (times < time_s)
    error = along[inside] % LENGTH_M - np.interp(times[inside], lap.at_s, lap.at_m)
    assert np.max(np.abs((error + LENGTH_M / 2) % LENGTH_M - LENGTH_M / 2)) < 10


def test_fixes_that_are_off_the_track_or_run_back_are_left_out() -> None:
    line = learn_line([_LAP], PLACE)
    fixes = fixes_of(_LAP, PLACE)
    assert isinstance(line, TrackLine)
    assert isinstance(fixes, Fixes)
    east = fixes.east_m.copy()
    east[300:303] += 500
    times, along = line.project(replace(fixes, east_m=east))
    assert not np.isin(fixes.times_s[300:303], times).any()
    assert (np.diff(along) >= 0).all()
    assert len(times) > 900


def test_a_map_has_the_line_the_finish_and_the_sector_ends() -> None:
    crossings = {"S1": 30.0, "S2": 60.0}
    drawn = track_map([_LAP, _LAP], _LENGTH, [crossings, crossings]).geojson()
    read = json.loads(json.dumps(drawn))
    assert read["type"] == "FeatureCollection"
    # RFC 7946, 7.1: a collection must have no properties of its own.
    assert set(read) == {"type", "features"}
    track, finish, first, second = read["features"]
    assert track["properties"]["length_m"] == LENGTH_M
    assert track["properties"]["length_evidence"] == "the demo's own"
    assert track["properties"]["laps"] == 2
    points = np.array(track["geometry"]["coordinates"])
    assert (points[0] == points[-1]).all()
    assert np.abs(points - [PLACE[1], PLACE[0]]).max() < 0.05
    assert finish["properties"]["kind"] == "start_finish"
    assert [first["properties"]["name"], second["properties"]["name"]] == ["S1", "S2"]
    lap = drive()
    for feature in (finish, first, second):
        name, at_m = feature["properties"]["name"], feature["properties"]["distance_m"]
        expected = np.interp(crossings.get(name, 0.0), lap.at_s, lap.at_m)
        assert at_m == pytest.approx(expected, abs=6)
        across = np.array(feature["geometry"]["coordinates"])
        assert np.hypot(*((across[1] - across[0]) * [82_900, 111_000])) == pytest.approx(24, abs=0.5)
