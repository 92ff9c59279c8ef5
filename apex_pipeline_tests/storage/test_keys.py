"""Tests of the validity check for keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import PermanentError
from apex_pipeline.storage.keys import UnsafeKeyError, check_key, check_prefix, is_legal_key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "it is empty"),
        ("/data/x", "it is absolute"),
        ("data//x", "an empty segment"),
        ("data/", "an empty segment"),
        ("data/./x", "'.' or '..'"),
        ("../x", "'.' or '..'"),
        ("data/..", "'.' or '..'"),
        (".incoming/x", "unfinished files"),
        ("data\\x", "a backslash"),
        ("data/\0", "a control character"),
        ("data/\x7f", "a control character"),
        ("data/\x85", "a control character"),
        ("data/\udcff", "not valid Unicode"),
        ("x" * 1025, "1025 bytes, at most 1024"),
        ("ü" * 513, "1026 bytes, at most 1024"),
    ],
)
def test_an_unsafe_key_is_refused_with_its_name_and_the_reason(key: str, reason: str) -> None:
    with pytest.raises(UnsafeKeyError) as refusal:
        check_key(key)
    assert repr(key) in refusal.value.problem
    assert reason in refusal.value.problem
    assert isinstance(refusal.value, PermanentError)
    assert not is_legal_key(key)


@pytest.mark.parametrize(
    "key", ["x", "a/b c/d#e%20.csv", "ü/🏁", "...", "a..b", ".hidden", "x" * 1024, "d/.incoming/x"]
)
def test_a_valid_key_is_returned_unchanged(key: str) -> None:
    assert check_key(key) == key
    assert is_legal_key(key)


@pytest.mark.parametrize("prefix", ["", "data", "data/", "data/COTA/Race 1"])
def test_a_prefix_may_be_empty_or_end_in_a_slash(prefix: str) -> None:
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["/", "data//", "../", "data/../"])
def test_an_unsafe_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(UnsafeKeyError):
        check_prefix(prefix)


@given(st.lists(st.sampled_from(["", ".", "..", "a", "b c", "\\", "/", "\0"]), max_size=6))
def test_an_accepted_key_stays_inside_the_lake(parts: list[str]) -> None:
    key = "/".join(parts)
    if is_legal_key(key):
        depth = [1 if part not in {"", ".", ".."} else -1 for part in key.split("/")]
        assert min(depth) == 1
