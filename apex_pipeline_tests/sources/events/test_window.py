"""A window over a file in a wide encoding counts whole characters, wherever its blocks end."""

import io

import pytest

from apex_pipeline.sources.events.window import Window


@pytest.mark.parametrize("closing", [b"?>", b"-->", b"</a>"])
@pytest.mark.parametrize("characters", ["é", "日", "🏁", "a🏁é"])
def test_a_search_to_the_end_of_a_file_splits_no_character(closing: bytes, characters: str) -> None:
    text = "<?" + characters * 40_000
    window = Window(io.BytesIO(text.encode("utf-16")))
    assert not window.skip_past(closing)
    assert window.offset_of(window.start) == 2  # the mark of the encoding


@pytest.mark.parametrize("characters", ["é", "日", "🏁", "a🏁é"])
def test_what_follows_a_long_search_is_at_its_offset_in_the_file(characters: str) -> None:
    before = "<?" + characters * 200_000 + "?>"
    window = Window(io.BytesIO((before + "<a/>").encode("utf-16")))
    assert window.skip_past(b"?>")
    assert window.offset_of(window.start) == len(before.encode("utf-16"))
