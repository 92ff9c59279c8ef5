"""Defines the protocol by which loaders find and read a source's raw files by name, without a catalog.

It is optional: only a source whose raw files are loaded by name implements it; see ``catalog/loaders``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class TrackName:
    """A track named in a path.

    Attributes:
        slug: Slug of the track.
        is_known: Whether the rules list it.
    """

    slug: str
    is_known: bool


@dataclass(frozen=True)
class FileHeader:
    """Header of a file, read from its first bytes.

    Attributes:
        columns: Column names.
        problem: Why the file cannot be read as a table; ``None`` if it can.
    """

    columns: tuple[str, ...]
    problem: str | None


class RawFileAccess(Protocol):
    """Names and headers of a source's raw files; ``rules`` is what its ``load_rules`` returned."""

    @property
    def head_bytes(self) -> int:
        """Number of bytes that :meth:`read_header` needs."""
        ...

    def tracks_in(self, path: str, rules: Any) -> Sequence[TrackName] | None:  # noqa: ANN401
        """Return the tracks named in a path, the file name's tracks first; ``None`` if the file is not race data."""
        ...

    def track_slug(self, name: str, rules: Any) -> str | None:  # noqa: ANN401
        """Return the slug of the track with this name or alias; ``None`` if the rules do not list it."""
        ...

    def name_patterns(self, kind: str, rules: Any) -> Sequence[str]:  # noqa: ANN401
        """Return the file-name patterns of a kind."""
        ...

    def read_header(self, head: bytes, path: str) -> FileHeader:
        """Return the header of a file, given its first bytes as stored."""
        ...

    def is_raw(self, kind: str, columns: Sequence[str]) -> bool:
        """Return whether a header is that of an original file of this kind."""
        ...
