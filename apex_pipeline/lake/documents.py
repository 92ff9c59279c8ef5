"""Reads and writes the lake's JSON documents: records, snapshots and their parts.

A document may come from anywhere, because others can write to the bucket. Its size, nesting, keys and types are checked
before anything uses it; pydantic's parser refuses deep nesting itself. Digests name the documents that never change.
"""

import hashlib
from functools import lru_cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from apex_pipeline.errors import ConfigurationError, StoreCorruptionError
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.keys import UnsafeKeyError, check_key
from apex_pipeline.tables.session_key import parse_session_key

# A record takes about 400 bytes per file, a snapshot of format 1 3 kB per session: 20,000 sessions fit.
MAX_DOCUMENT_BYTES = 64 * 1024**2

T = TypeVar("T")


def _session_text(value: str) -> str:
    try:
        return str(parse_session_key(value))
    except ConfigurationError as error:
        raise ValueError(error.problem) from error


def _path_text(value: str) -> str:
    try:
        return check_key(value)
    except UnsafeKeyError as error:
        raise ValueError(error.problem) from error


Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# ``track/session``
SessionText = Annotated[str, AfterValidator(_session_text)]
# A path that is safe as part of a key.
PathText = Annotated[str, AfterValidator(_path_text)]
NameText = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,80}$")]
Count = Annotated[int, Field(ge=0)]


@lru_cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump_document(document: object) -> bytes:
    """Return a document (a dataclass) as JSON; equal documents give equal bytes."""
    return _adapter(type(document)).dump_json(document, indent=1)


def parse_document(kind: type[T], content: bytes, name: str) -> T:
    """Parse and check a document.

    Args:
        kind: Its dataclass.
        content: Its JSON.
        name: Where it comes from, for messages.

    Raises:
        StoreCorruptionError: It is not JSON, is nested too deeply, or a field is missing or has a wrong type.
    """
    try:
        return cast("T", _adapter(kind).validate_json(content, strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _damaged(name, f"{where}: {first['msg']}" if where else first["msg"]) from None


def read_document(store: ObjectStore, key: str, kind: type[T]) -> T | None:
    """Return a document, or ``None`` if there is none.

    Raises:
        StoreCorruptionError: It is too large or damaged.
    """
    found = store.read_with_tag(key, MAX_DOCUMENT_BYTES)
    return None if found is None else parse_document(kind, found[0], store.uri_of(key))


def read_digested(store: ObjectStore, key: str, sha256: str, kind: type[T]) -> T:
    """Return a document that never changes, checked against its digest.

    Raises:
        StoreCorruptionError: It is missing, too large, or not the document with this digest.
    """
    found = store.read_with_tag(key, MAX_DOCUMENT_BYTES)
    if found is None:
        raise _damaged(store.uri_of(key), "it is missing")
    if hashlib.sha256(found[0]).hexdigest() != sha256:
        raise _damaged(store.uri_of(key), "its content differs from its digest")
    return parse_document(kind, found[0], store.uri_of(key))


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a document's JSON."""
    return hashlib.sha256(content).hexdigest()


def _damaged(name: str, problem: str) -> StoreCorruptionError:
    return StoreCorruptionError(f"{name} is damaged ({problem}).", "Run `apex sync`, which makes it again.")
