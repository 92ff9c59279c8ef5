"""Cursors: what was sent comes back, and nothing that was changed or made up is accepted."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.api.lake.cursors import Cursor, CursorKey
from apex_pipeline.api.lake.errors import RequestError

_CURSOR = Cursor("20261127T125705Z-3a198ac2", "0123456789abcdef", 3, 4_000)


def test_a_cursor_is_the_same_after_a_restart() -> None:
    text = CursorKey("lake").text_of(_CURSOR)
    assert CursorKey("lake").read(text, _CURSOR.query) == _CURSOR
    assert text.isascii()
    assert not {"=", "+", "/"} & set(text)


def test_a_cursor_of_another_lake_or_query_is_refused() -> None:
    text = CursorKey("lake").text_of(_CURSOR)
    with pytest.raises(RequestError, match="not one of this lake"):
        CursorKey("other").read(text, _CURSOR.query)
    with pytest.raises(RequestError, match="another query"):
        CursorKey("lake").read(text, "fedcba9876543210")


@given(
    st.one_of(st.text(max_size=200), st.binary(max_size=100).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
)
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="not one of this lake"):
        CursorKey("lake").read(text, _CURSOR.query)


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.data())
def test_a_cursor_with_any_character_changed_is_refused(part: int, row: int, data: st.DataObject) -> None:
    key = CursorKey("lake")
    text = key.text_of(Cursor(_CURSOR.snapshot, _CURSOR.query, part, row))
    place = data.draw(st.integers(0, len(text) - 1))
    # The last character holds bits that no byte takes, so another one there may mean the same.
    other = data.draw(
        st.sampled_from("ABCDEFGHIJKLMNOPabcdefghijkl0123456789-_").filter(lambda one: one != text[place])
    )
    try:
        found = key.read(text[:place] + other + text[place + 1 :], _CURSOR.query)
    except RequestError:
        return
    assert (found.part, found.row) == (part, row)
