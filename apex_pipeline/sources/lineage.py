"""The words of lineage that sources and operations share: raw rows, and the evidence behind a published lap."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class RawRow:
    """One row of a raw file.

    Attributes:
        file: Path relative to ``data/`` in the lake.
        sha256: Digest of the file; ``None`` if the catalog has none.
        line: Line number, the header being line 1; ``None`` where the whole file is the source.
        text: The row as in the file, without its line end; ``None`` likewise.
    """

    file: str
    sha256: str | None
    line: int | None
    text: str | None


@dataclass(frozen=True)
class Evidence:
    """The raw rows behind one event of a lap; the fields are keys of ``apex trace --json``.

    Attributes:
        tells: Role: the crossing that starts or ends the lap, an ignored one in between, or official timing.
        stamped_utc_ms: Timestamp of its first message, milliseconds since 1970; ``None`` without one.
        used_utc_ms: The time the lap uses; ``None`` for a crossing in between and for official timing.
        note: Remark; empty if there is none.
        rows: The raw rows, in chronological order.
    """

    role: Literal["begin", "between", "end", "official"]
    stamped_utc_ms: int | None
    used_utc_ms: int | None
    note: str
    rows: tuple[RawRow, ...]


class RawRows(Protocol):
    """Access to the raw files behind a published session, as the catalog lists them."""

    def kind_of(self, path: str) -> str | None:
        """Return the kind of a file; ``None`` for one that is not listed."""
        ...

    def content(self, path: str) -> bytes:
        """Return a small file as it is stored."""
        ...

    def whole(self, path: str) -> RawRow:
        """Return a file as a source without a line."""
        ...

    def rows(self, places: Iterable[tuple[str, int]]) -> tuple[RawRow, ...]:
        """Return the rows at these paths and lines."""
        ...
