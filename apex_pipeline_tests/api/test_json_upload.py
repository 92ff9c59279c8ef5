"""Splitting an uploaded JSON object: the same result as a JSON parser's, however it is cut into blocks."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.api.json_upload import JsonUpload
from apex_pipeline.errors import LimitExceededError, MalformedFileError

# Beyond 0xFFFF an escape in JSON is two; no such text is base64, so it is refused later, whatever becomes of it here.
_TEXT = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=30)


def _split(document: bytes, size: int = 7) -> tuple[bytes, dict[str, object]]:
    out = io.BytesIO()
    upload = JsonUpload("data", out.write)
    for start in range(0, len(document), size):
        upload.feed(document[start : start + size])
    other = upload.finish()
    return out.getvalue(), other


@given(
    st.dictionaries(_TEXT, st.recursive(_TEXT | st.integers() | st.none(), st.lists), max_size=3),
    _TEXT,
    st.integers(1, 40),
    st.booleans(),
)
def test_every_object_is_split_as_a_parser_would(
    other: dict[str, object],
    data: str,
    size: int,
    is_ascii: bool,  # noqa: FBT001  -- drawn by Hypothesis
) -> None:
    document = json.dumps({**other, "data": data, "force": True}, ensure_ascii=is_ascii).encode()
    text, rest = _split(document, size)
    expected = {**other, "data": data, "force": True}
    assert text.decode() == expected.pop("data")
    assert rest == expected


def test_the_field_of_a_nested_object_is_not_the_upload() -> None:
    assert _split(b'{"x": {"data": "no"}, "data": "yes"}') == (b"yes", {"x": {"data": "no"}})


def test_escapes_in_the_text_are_resolved() -> None:
    assert _split(b'{"data": "a\\/b\\u002bc\\"d"}', 1)[0] == b'a/b+c"d'


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b"[]", b"{}", b"null", b'"data"', b'{"data": null}', b'{"data": 3}', b'{"data": ["x"]}'),
        *(b'{"data": "x"', b'{"data": "x', b'{"data": "x"} more', b'{"data": "x", "data": "y"}', b'{"data": "\\q"}'),
        *(b"[" * 5_000, b'{"data" "x"}', b"\xff\xfe"),
    ],
)
def test_what_is_no_such_object_is_refused(document: bytes) -> None:
    with pytest.raises(MalformedFileError):
        _split(document)


@pytest.mark.parametrize("document", [b'{"data": ' + b"7" * 100_000, b'{"x": "' + b"y" * 100_000, b" " * 100_000])
def test_a_large_rest_is_refused_and_not_collected(document: bytes) -> None:
    with pytest.raises(LimitExceededError):
        _split(document, 1000)
