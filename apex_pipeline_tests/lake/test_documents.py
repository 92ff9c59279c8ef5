"""Tests of the lake's JSON documents: equal bytes for equal content, and nothing unchecked is used."""

from dataclasses import dataclass

import pytest

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.lake.documents import (
    MAX_DOCUMENT_BYTES,
    Digest,
    PathText,
    SessionText,
    digest_of,
    dump_document,
    parse_document,
    read_digested,
    read_document,
)
from apex_pipeline.storage.local import LocalStore


@dataclass(frozen=True)
class _Document:
    key: SessionText
    path: PathText
    sha256: Digest
    sizes: tuple[int, ...] = ()


_GOOD = _Document("spa/R1", "spa/a.csv", "0" * 64, (1, 2))


def test_a_document_is_read_as_it_was_written() -> None:
    assert parse_document(_Document, dump_document(_GOOD), "here") == _GOOD


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"key": "spa/R1"',
        b'{"key": "spa/R1", "path": "a.csv", "sha256": "' + b"0" * 63 + b'"}',
        b'{"key": "spa/R1", "path": "../a.csv", "sha256": "' + b"0" * 64 + b'"}',
        b'{"key": "../R1", "path": "a.csv", "sha256": "' + b"0" * 64 + b'"}',
        b'{"key": "spa/R1", "path": "a.csv", "sha256": "' + b"0" * 64 + b'", "sizes": ["1"]}',
        b'{"key": "spa/R1", "path": "a.csv", "sha256": "' + b"0" * 64 + b'", "sizes": [true]}',
        b'{"key": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"key": ' + b"9" * 10_000 + b"}",
    ],
)
def test_a_damaged_or_hostile_document_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(StoreCorruptionError, match=r"^here is damaged \(.*Run `apex sync`"):
        parse_document(_Document, content, "here")


def test_an_unknown_field_is_ignored_so_that_later_versions_may_add_one() -> None:
    content = dump_document(_GOOD).replace(b"{", b'{"new": 1,', 1)
    assert parse_document(_Document, content, "here") == _GOOD


def test_a_message_quotes_no_content() -> None:
    content = b'{"key": "Jane Doe", "path": "a.csv", "sha256": "x", "sizes": ["Jane Doe"]}'
    with pytest.raises(StoreCorruptionError) as refused:
        parse_document(_Document, content, "here")
    assert "Jane" not in str(refused.value).replace("'Jane Doe' is not a session key", "")


def test_a_document_that_is_too_large_is_not_read(store: LocalStore) -> None:
    store.write_bytes("catalog/x.json", b" " * (MAX_DOCUMENT_BYTES + 1))
    with pytest.raises(StoreCorruptionError, match=r"catalog/x\.json"):
        read_document(store, "catalog/x.json", _Document)


def test_a_missing_document_is_none_and_a_missing_part_is_damage(store: LocalStore) -> None:
    assert read_document(store, "catalog/x.json", _Document) is None
    with pytest.raises(StoreCorruptionError, match="is missing"):
        read_digested(store, "catalog/x.json", "0" * 64, _Document)


def test_a_part_with_other_content_than_its_digest_says_is_damage(store: LocalStore) -> None:
    content = dump_document(_GOOD)
    store.write_bytes("catalog/x.json", content)
    assert read_digested(store, "catalog/x.json", digest_of(content), _Document) == _GOOD
    with pytest.raises(StoreCorruptionError, match="differs from its digest"):
        read_digested(store, "catalog/x.json", digest_of(content + b" "), _Document)
