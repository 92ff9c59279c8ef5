"""The part of a sync's plan that concerns raw files: which of them have to be copied."""

from dataclasses import dataclass, field

from apex_pipeline.ingest.source_files import SourceFile
from apex_pipeline.tables.session_key import SessionKey


@dataclass(frozen=True)
class CopyPlan:
    """The source files that have to be copied.

    Attributes:
        by_session: Files to copy, by session.
        without_session: Files to copy that belong to no session.
        unchanged: Number of files whose content is in the lake already.
        replaced: Paths of files to copy whose key has different content in the lake.
    """

    by_session: dict[SessionKey, tuple[SourceFile, ...]] = field(default_factory=dict)
    without_session: tuple[SourceFile, ...] = ()
    unchanged: int = 0
    replaced: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All files to copy."""
        return (*self.without_session, *(file for files in self.by_session.values() for file in files))

    @property
    def file_count(self) -> int:
        """Number of files to copy."""
        return len(self.files)

    @property
    def bytes(self) -> int:
        """Bytes to copy."""
        return sum(file.size for file in self.files)
