"""Tests that tracks, sessions and cars are found as people write them, and that nothing else is."""

from typing import Any

import pytest

from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.lake.names import find_car, find_session, find_sessions
from apex_pipeline.settings import load_settings
from apex_pipeline.tables.session_key import SessionKey

_BARBER, _COTA = "barber_motorsports_park", "circuit_of_the_americas"
_KNOWN = [
    SessionKey(_BARBER, "R1"),
    SessionKey(_BARBER, "R2"),
    SessionKey(_BARBER, "2026_R1"),
    SessionKey(_COTA, "qualifying"),
    SessionKey("spa_francorchamps", "R1"),
    SessionKey("spa_hill", "R1"),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("barber_motorsports_park/R1", ["barber_motorsports_park/R1"]),
        ("barber/r1", ["barber_motorsports_park/R1"]),
        ("Barber/Race 1", ["barber_motorsports_park/R1"]),
        ("barber/race_2", ["barber_motorsports_park/R2"]),
        ("barber/2026_race_1", ["barber_motorsports_park/2026_R1"]),
        ("COTA", ["circuit_of_the_americas/qualifying"]),
        ("cota/Qualifying/", ["circuit_of_the_americas/qualifying"]),
        ("Spa Francorchamps", ["spa_francorchamps/R1"]),
        ("francorchamps", ["spa_francorchamps/R1"]),
        ("barber", ["barber_motorsports_park/2026_R1", "barber_motorsports_park/R1", "barber_motorsports_park/R2"]),
    ],
)
def test_a_name_as_people_write_it_is_understood(text: str, expected: list[str]) -> None:
    assert list(map(str, find_sessions(text, _KNOWN, load_settings()))) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("barbre", r"has no track 'barbre'. Did you mean barber_motorsports_park|Its tracks are: barber"),
        ("sebring", "has no track 'sebring'. Its tracks are: barber_motorsports_park"),
        ("circut_of_the_americas", "Did you mean circuit_of_the_americas"),
        ("spa", "'spa' may be any of spa_francorchamps, spa_hill. Write the whole name"),
        ("barber/R9", "barber_motorsports_park has no session 'R9'. It has: barber_motorsports_park/2026_R1"),
        ("", "has no track ''"),
        ("/", "has no track ''"),
        ("../..", "has no track"),
    ],
)
def test_a_name_that_means_nothing_is_an_error_with_a_suggestion(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        find_sessions(text, _KNOWN, load_settings())


def test_in_an_empty_lake_nothing_is_found() -> None:
    with pytest.raises(ConfigurationError, match="Its tracks are: none"):
        find_sessions("barber", [], load_settings())


@pytest.mark.parametrize(
    ("track", "session", "expected"),
    [
        ("barber", "Race 1", "barber_motorsports_park/R1"),
        ("BARBER", "race2", "barber_motorsports_park/R2"),
        ("Circuit of the Americas", "QUALIFYING", "circuit_of_the_americas/qualifying"),
        ("cota", "qualifying", "circuit_of_the_americas/qualifying"),
        ("francorchamps", " r1 ", "spa_francorchamps/R1"),
    ],
)
def test_a_session_is_found_by_the_names_of_its_track_and_its_own(track: str, session: str, expected: str) -> None:
    assert str(find_session(track, session, _KNOWN, load_settings())) == expected


def test_an_unknown_session_is_an_error_with_the_sessions_of_the_track() -> None:
    with pytest.raises(ObjectMissingError, match=r"barber_motorsports_park/R9 is not published.*park/R1, .*park/R2"):
        find_session("barber", "R9", _KNOWN, load_settings())
    with pytest.raises(ObjectMissingError, match="Did you mean qualifying"):
        find_session("cota", "qualifing", _KNOWN, load_settings())


def test_a_name_of_several_sessions_is_an_error_that_lists_them() -> None:
    twice = [SessionKey("spa", "race_1"), SessionKey("spa", "R1")]
    with pytest.raises(ConfigurationError, match="'Race 1' may be any of spa/R1, spa/race_1"):
        find_session("spa", "Race 1", twice, load_settings())


def _car(vehicle_id: str | None, chassis: str, number: str | None) -> dict[str, Any]:
    return {"vehicle_id": vehicle_id, "chassis": chassis, "car_number": number}


_CARS = [
    _car("GR86-022-13", "022", "13"),
    _car("GR86-060-2", "060", "111"),
    _car("GR86-002-000", "002", "2"),
    _car("GR86-111-7", "111", "7"),
    _car("GR86-004-78", "004", None),
    _car(None, "", "51"),
]


@pytest.mark.parametrize(
    ("called", "vehicle_id"),
    [
        ("GR86-022-13", "GR86-022-13"),
        ("gr86-022-13", "GR86-022-13"),
        ("13", "GR86-022-13"),
        (13, "GR86-022-13"),
        ("#13", "GR86-022-13"),
        ("2", "GR86-002-000"),
        ("#111", "GR86-060-2"),
        ("111", "GR86-060-2"),
    ],
)
def test_a_car_is_found_by_id_or_resolved_number(called: str | int, vehicle_id: str) -> None:
    assert find_car(_CARS, called) == vehicle_id


@pytest.mark.parametrize(("chassis", "vehicle_id"), [("004", "GR86-004-78"), ("111", "GR86-111-7")])
def test_a_chassis_is_found_only_where_it_is_called_one(chassis: str, vehicle_id: str) -> None:
    assert find_car(_CARS, chassis=chassis) == vehicle_id
    assert find_car(_CARS, vehicle_id, chassis) == vehicle_id


def test_a_number_of_two_cars_is_an_ambiguity_error() -> None:
    cars = [*_CARS, _car("GR86-099-1", "099", "111")]
    with pytest.raises(ConfigurationError, match=r"'111' may be any of GR86-060-2 \(#111\), GR86-099-1 \(#111\)"):
        find_car(cars, "111")


@pytest.mark.parametrize("called", ["51", "#022", "03", "", "#", "GR86"])
def test_an_unknown_car_is_an_error_that_lists_the_known_ones(called: str) -> None:
    with pytest.raises(ConfigurationError, match=r"No car is called .*GR86-022-13 \(#13\).*GR86-004-78\."):
        find_car(_CARS, called)


@pytest.mark.parametrize(("called", "guess"), [("02", "2"), ("#013", "13"), ("GR86-022-31", "GR86-022-13")])
def test_an_unknown_car_is_an_error_with_a_guess(called: str, guess: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"Did you mean {guess}\?"):
        find_car(_CARS, called)


def test_a_chassis_given_as_a_number_is_an_error_that_says_so() -> None:
    with pytest.raises(ConfigurationError, match="004 is a chassis: write --chassis 004, or GR86-004-78"):
        find_car(_CARS, "004")


def test_a_session_without_cars_is_reported_as_such() -> None:
    with pytest.raises(ConfigurationError, match="no car with lap triggers"):
        find_car([], "13")


@pytest.mark.parametrize(("track", "session"), [(7, "R1"), ("barber", 1), (None, "R1"), ("barber", None)])
def test_a_track_or_session_that_is_no_text_is_an_error_that_says_so(track: Any, session: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"(7|1|None) is not a name\. Write tracks and sessions as text"):
        find_session(track, session, _KNOWN, load_settings())
    with pytest.raises(ConfigurationError, match="is not a name"):
        find_sessions(7, _KNOWN, load_settings())  # pyright: ignore[reportArgumentType]  -- what is tested
