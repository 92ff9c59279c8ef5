"""Kinds of damage to an object of a lake, for the tests that damage one object after the other.

Each kind returns the new content for an old one; ``None`` removes the object.
"""

from collections.abc import Callable

Damage = Callable[[bytes], bytes | None]

_DEEP = 100_000


def missing(_: bytes) -> None:
    """Remove the object."""


def empty(_: bytes) -> bytes:
    """Leave nothing of the content."""
    return b""


def truncated(content: bytes) -> bytes:
    """Cut off the second half."""
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Flip one bit in the middle."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 0x01
    return bytes(changed)


def flipped_in(text: bytes) -> Damage:
    """Return a damage that flips one bit of the last character of the first place with this text."""

    def flip(content: bytes) -> bytes:
        at = content.index(text) + len(text) - 1
        changed = bytearray(content)
        changed[at] ^= 0x01
        return bytes(changed)

    flip.__name__ = f"flipped_in_{text.decode()}"
    return flip


def garbage(content: bytes) -> bytes:
    """Replace the content by as many other bytes."""
    return bytes((number * 7 + 3) % 256 for number in range(len(content)))


def other_text(text: bytes, replacement: bytes) -> Damage:
    """Return a damage that replaces every occurrence of a text."""

    def replace(content: bytes) -> bytes:
        assert text in content
        return content.replace(text, replacement)

    replace.__name__ = f"{text.decode()}_to_{replacement.decode()}"
    return replace


def deeply_nested(_: bytes) -> bytes:
    """Return JSON that is nested so deeply that a recursive parser overflows."""
    return b"[" * _DEEP + b"]" * _DEEP


def wrong_types(_: bytes) -> bytes:
    """Return JSON whose fields have wrong types."""
    return (
        b'{"snapshot": ["a"], "key": 7, "files": {"a": null}, "sessions": [1], "tables": "all", "format": "two",'
        b' "shards": 3, "id": null, "inputs_version": {}, "token": [], "path": 1}'
    )


def huge_numbers(content: bytes) -> bytes:
    """Replace every number by one that no machine word holds."""
    return content.replace(b": 1", b": 1" + b"0" * 400)


def other_json(_: bytes) -> bytes:
    """Return JSON of something else."""
    return b'{"lap": 3, "time_s": 97.4}'


WHOLE: tuple[Damage, ...] = (missing, empty, truncated, flipped, garbage)
JSON: tuple[Damage, ...] = (*WHOLE, deeply_nested, wrong_types, huge_numbers, other_json)
