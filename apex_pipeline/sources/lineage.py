"""Defines the lineage types that sources and operations share: raw rows, and the evidence behind a published lap."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

from apex_pipeline.sources.limits import Limits


@dataclass(frozen=True)
class RawRow:
    """One row of a raw file.

    Attributes:
        file: Path relative to ``data/`` in the lake.
        sha256: Digest of the file; ``None`` if the catalog has none.
        line: Line number, counting the header as line 1; ``None`` if the source is the entire file.
        text: The row as in the file, without its line ending; ``None`` if the source is the entire file.
    """

    file: str
    sha256: str | None
    line: int | None
    text: str | None


@dataclass(frozen=True)
class Evidence:
    """The raw rows behind one event of a lap; the fields are keys of ``apex trace --json``.

    Attributes:
        role: The crossing that starts or ends the lap, an ignored crossing in between, or official timing.
        stamped_utc_ms: Timestamp of its first message, milliseconds since 1970; ``None`` if there is none.
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

    @property
    def limits(self) -> Limits:
        """Limits within which the files are read."""
        ...

    def kind_of(self, path: str) -> str | None:
        """Return the kind of a file; ``None`` if it is not listed."""
        ...

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file as stored, for one sequential read, after checking that it is the one the tables are from."""
        ...

    def whole(self, path: str) -> RawRow:
        """Return a file as a raw row without a line number."""
        ...

    def rows(self, places: Iterable[tuple[str, int]]) -> tuple[RawRow, ...]:
        """Return the rows at these paths and line numbers."""
        ...
