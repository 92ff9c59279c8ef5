"""Checks that keys are valid; every backend does so in every operation.

See ``layout.py`` for the keys in use; each backend maps them to paths or S3 keys. The check is the same for both, so a
lake can be moved from a folder to a bucket and back.
"""

from apex_pipeline.errors import StoreError

# S3's own limit, in bytes of UTF-8.
MAX_KEY_BYTES = 1024
# First segment for the unfinished files of the local backend; reserved in both, so that lakes can be moved.
INCOMING = ".incoming"
_CONTROL_CHARACTERS = frozenset(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))


class UnsafeKeyError(StoreError):
    """The key could point outside the lake, or cannot be stored in every backend; nothing was sent."""


def check_key(key: str) -> str:
    """Return ``key`` unchanged if it is valid in every backend.

    Unicode, spaces, ``#``, ``%`` and similar characters are valid.

    Args:
        key: POSIX path relative to the lake.

    Raises:
        UnsafeKeyError: The key is empty, absolute, too long, or has an empty, ``.`` or ``..`` segment, a backslash
            or a control character.
    """
    reason = _reason_against(key)
    if reason is not None:
        raise UnsafeKeyError(f"The key {key!r} is not allowed: {reason}.", "Rename the file or folder it comes from.")
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` unchanged if valid keys can start with it; it may be empty or end in a slash.

    Raises:
        UnsafeKeyError: As for :func:`check_key`.
    """
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def is_legal_key(key: str) -> bool:
    """Return whether :func:`check_key` accepts the key."""
    return _reason_against(key) is None


def _reason_against(key: str) -> str | None:
    segments = key.split("/")
    if not key:
        reason = "it is empty"
    elif not segments[0]:
        reason = "it is absolute"
    elif "" in segments:
        reason = "it contains an empty segment"
    elif "." in segments or ".." in segments:
        reason = "it contains a '.' or '..' segment"
    elif segments[0] == INCOMING:
        reason = f"{INCOMING} is reserved for unfinished files"
    elif "\\" in key:
        reason = "it contains a backslash"
    elif not _CONTROL_CHARACTERS.isdisjoint(key):
        reason = "it contains a control character"
    else:
        reason = _reason_against_encoding(key)
    return reason


def _reason_against_encoding(key: str) -> str | None:
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return f"it has {length} bytes, at most {MAX_KEY_BYTES} are allowed" if length > MAX_KEY_BYTES else None
