"""What an automation keeps from one look to the next: the text of a sensor's cursor."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.ingest.tick_state import TickState, parse_tick_state

_TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  -- as asked

_NAMES = st.text(max_size=5)


@given(_NAMES, st.dictionaries(_NAMES, _NAMES, max_size=3), st.none() | _TIMES, _NAMES)
def test_a_state_comes_back_from_its_text(
    resume: str, watched: dict[str, str], since: datetime | None, reported: str
) -> None:
    state = TickState(resume, watched, since, reported)
    assert parse_tick_state(state.to_text()) == state


@pytest.mark.parametrize(
    "text",
    [None, "", "{}", "[]", "nonsense", '{"watched": 3}', '{"outdated_since_s": 1e300}', '{"outdated_since_s": "x"}'],
)
def test_any_other_text_counts_as_no_state(text: str | None) -> None:
    assert parse_tick_state(text) == TickState()
