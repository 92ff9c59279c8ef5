"""Tests session keys: valid keys round-trip, and invalid text is rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.tables.session_key import parse_session_key, session_key

_TRACKS = st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True)
_SESSIONS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True)


@given(_TRACKS, _SESSIONS)
def test_a_key_round_trips_through_text(track: str, session: str) -> None:
    key = session_key(track, session)
    assert parse_session_key(str(key)) == key


@pytest.mark.parametrize(
    "text",
    ["", "/", "..", "../R1", "a/../b", "a...b", "a,b", "/abs/R1", "a/", "/R1", "a/b/c", "a|b", "a\\b/R1", "A B/R1"],
)
def test_invalid_text_is_not_a_key(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"not a session key|not a track slug|not a session name"):
        parse_session_key(text)


@pytest.mark.parametrize(("track", "session"), [("24", "R1"), ("spa", "2026")])
def test_an_all_digit_part_is_rejected_because_readers_parse_it_as_a_number(track: str, session: str) -> None:
    with pytest.raises(ConfigurationError):
        session_key(track, session)
