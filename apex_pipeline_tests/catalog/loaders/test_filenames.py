"""File names of sessions: how they are built, and how a session is parsed from one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.catalog.loaders.filenames import (
    LoadKind,
    file_names,
    kind_from_name,
    raw_key_of,
    session_in,
)
from apex_pipeline.sources.session_names import canonical_session


@pytest.mark.req("A-024", "A-025")
@pytest.mark.parametrize(
    ("kind", "ending"), [(LoadKind.LAP_START, "lap_start"), (LoadKind.TELEMETRY, "telemetry_data")]
)
def test_the_three_patterns_are_tried_in_order(kind: LoadKind, ending: str) -> None:
    assert file_names(kind, "road_america", "R1") == [
        f"R1_road_america_{ending}.csv",
        f"R1_road-america_{ending}.csv",
        f"R1_{ending}.csv",
    ]
    assert {kind_from_name(name) for name in file_names(kind, "road_america", "R1")} == {kind}


@pytest.mark.req("A-020")
@given(st.text(), st.text())
def test_a_key_has_no_empty_part_and_no_backslash(track: str, filename: str) -> None:
    key = raw_key_of(track, filename)
    assert key.startswith("data/")
    assert "//" not in key
    assert "\\" not in key


@pytest.mark.req("A-021", "K-09")
@pytest.mark.parametrize(
    ("filename", "session"),
    [
        ("practice_barber_motorsports_park_lap_start.csv", "practice"),
        ("R1_barber-motorsports-park_lap_start.csv", "R1"),
        ("R1_barber_lap_start.csv.gz", "R1"),
        ("warm_up_2_barber_LAP_START.CSV", "warm_up_2"),
        ("R1_lap_start.csv", "R1"),
        ("R1_sebring_lap_start.csv", "R1_sebring"),
        ("R1_park_lap_start.csv", "R1"),
        ("wet_park_lap_start.csv", "wet_park"),
        ("barber_lap_start.csv", None),
        ("_barber_lap_start.csv", "_barber"),
        ("barber_lap_start_time_R1.csv", None),
        ("R1_barber_lap_end.csv", None),
        ("R1_lap_start.txt", None),
    ],
)
def test_the_session_is_the_part_before_the_track(filename: str, session: str | None) -> None:
    forms = {"barber", "barber_motorsports_park", "barber-motorsports-park"}
    assert session_in(filename, LoadKind.LAP_START, forms.__contains__, {"park"}.__contains__) == session
    assert session_in(filename, LoadKind.TELEMETRY, forms.__contains__, {"park"}.__contains__) is None


@pytest.mark.parametrize(
    ("text", "session"),
    [
        ("R1", "R1"),
        ("r1", "R1"),
        ("race_1", "R1"),
        ("Race 1", "R1"),
        ("2026_race_1", "2026_R1"),
        ("practice", "practice"),
        ("Sprint-A", "sprint_a"),
        ("x_race", "x_race"),
    ],
)
def test_spellings_of_a_session_have_one_canonical_name(text: str, session: str) -> None:
    assert canonical_session(text) == session
