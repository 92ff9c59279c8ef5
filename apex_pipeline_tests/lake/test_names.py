"""Tests that tracks and sessions are found as people write them, and that nothing else is."""

import pytest

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.names import find_sessions
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
