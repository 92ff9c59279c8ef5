"""What an application's loader asks a source about raw files it loads by name, without a catalog.

Contains the protocol only. A source whose files nobody loads by name does without; see ``catalog/loaders``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class TrackName:
    """A track that a path names.

    Attributes:
        slug: Its slug.
        is_known: Whether the rules list it.
    """

    slug: str
    is_known: bool


@dataclass(frozen=True)
class FileHeader:
    """What the first bytes of a file show.

    Attributes:
        columns: Names of its columns.
        problem: Why it cannot be read as a table, ``None`` if it can.
    """

    columns: tuple[str, ...]
    problem: str | None


class RawFileAccess(Protocol):
    """Names and headers of a source's raw files; ``rules`` is what its ``load_rules`` returned."""

    @property
    def head_bytes(self) -> int:
        """How many bytes of a file :meth:`read_header` needs."""
        ...

    def tracks_in(self, path: str, rules: Any) -> Sequence[TrackName] | None:  # noqa: ANN401
        """Return the tracks a path names, the file's own first; ``None`` for a file that is not race data."""
        ...

    def track_slug(self, name: str, rules: Any) -> str | None:  # noqa: ANN401
        """Return the slug of the track with this name or alias, ``None`` if the rules list none."""
        ...

    def name_patterns(self, kind: str, rules: Any) -> Sequence[str]:  # noqa: ANN401
        """Return the patterns of whole file names of a kind."""
        ...

    def read_header(self, head: bytes, path: str) -> FileHeader:
        """Return the header of a file from its first bytes, as stored."""
        ...

    def is_raw(self, kind: str, columns: Sequence[str]) -> bool:
        """Return whether a header is that of a file of this kind as the cars sent it."""
        ...
