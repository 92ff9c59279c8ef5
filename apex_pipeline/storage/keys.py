"""What a key of the lake may look like: one check, used by every backend on every operation.

Here belongs only the rule. Which keys exist is in ``layout.py``; how a key becomes a path or an S3 key, in the
backends. The rule is the same for both, so a lake can be moved from a folder to a bucket and back.
"""

from apex_pipeline.errors import StoreError

# S3's own limit, in bytes of UTF-8.
MAX_KEY_BYTES = 1024
# First segment under which the local backend keeps unfinished files; taken on both, so that lakes stay exchangeable.
INCOMING = ".incoming"
_CONTROL = frozenset(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))


class UnsafeKeyError(StoreError):
    """The key could leave the lake, or not every backend can hold it; nothing was sent."""


def check_key(key: str) -> str:
    """Return ``key`` if every backend can hold it inside the lake.

    Unicode, spaces, ``#``, ``%`` and the like are legal and kept as they are.

    Args:
        key: POSIX path relative to the lake.

    Raises:
        HostileKeyError: The key is empty, absolute, too long, or has an empty, ``.`` or ``..`` segment, a backslash
            or a control character.
    """
    reason = _reason_against(key)
    if reason is not None:
        raise UnsafeKeyError(f"The key {key!r} is refused: {reason}.", "Rename the file or folder it comes from.")
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if keys may start with it; empty and a trailing slash are legal.

    Raises:
        HostileKeyError: As for :func:`check_key`.
    """
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def is_legal_key(key: str) -> bool:
    """Tell whether :func:`check_key` would accept the key."""
    return _reason_against(key) is None


def _reason_against(key: str) -> str | None:
    segments = key.split("/")
    if not key:
        reason = "it is empty"
    elif not segments[0]:
        reason = "it is absolute"
    elif "" in segments:
        reason = "it has an empty segment"
    elif "." in segments or ".." in segments:
        reason = "it has a '.' or '..' segment"
    elif segments[0] == INCOMING:
        reason = f"{INCOMING} is where unfinished files are kept"
    elif "\\" in key:
        reason = "it has a backslash"
    elif not _CONTROL.isdisjoint(key):
        reason = "it has a control character"
    else:
        reason = _reason_against_encoding(key)
    return reason


def _reason_against_encoding(key: str) -> str | None:
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return f"it has {length} bytes, at most {MAX_KEY_BYTES} are allowed" if length > MAX_KEY_BYTES else None
