"""Session keys: one rule, and hostile text refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.tables.session_key import parse_session_key, session_key

_TRACKS = st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True)
_SESSIONS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True)


@given(_TRACKS, _SESSIONS)
def test_a_key_written_out_reads_back_the_same(track: str, session: str) -> None:
    key = session_key(track, session)
    assert parse_session_key(str(key)) == key


@pytest.mark.parametrize(
    "hostile",
    ["", "/", "..", "../R1", "a/../b", "a...b", "a,b", "/abs/R1", "a/", "/R1", "a/b/c", "a|b", "a\\b/R1", "A B/R1"],
)
def test_hostile_text_is_no_key(hostile: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no session key|no track slug|no session name"):
        parse_session_key(hostile)


@pytest.mark.parametrize(("track", "session"), [("24", "R1"), ("spa", "2026")])
def test_a_part_of_digits_only_is_refused_because_readers_take_it_for_a_number(track: str, session: str) -> None:
    with pytest.raises(ConfigurationError):
        session_key(track, session)
