"""Files that were taken out of the lake with ``apex forget``.

The list names each file by path and digest: the same content is neither identified nor copied again, and other content
under the same path is a new file. Its bytes stay until ``apex gc`` removes them after the retention.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import AwareDatetime

from apex_pipeline.errors import StoreUnavailableError
from apex_pipeline.lake.documents import (
    MAX_DOCUMENT_BYTES,
    Digest,
    PathText,
    SessionText,
    dump_document,
    parse_document,
    read_document,
)
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import FORGOTTEN_KEY
from apex_pipeline.storage.leases import replace_alone

# Each attempt fails only because another process has changed the list in between.
_MOST_ATTEMPTS = 20


@dataclass(frozen=True)
class ForgottenFile:
    """One file that was taken out.

    Attributes:
        sha256: Digest of its content; ``None`` if it had none, and then any content of this path is out.
        when_utc: When.
        session: The session it belonged to, as ``track/session``.
    """

    sha256: Digest | None
    when_utc: AwareDatetime
    session: SessionText | None = None


@dataclass(frozen=True)
class Forgotten:
    """The list of files taken out, by path: one entry for each content that was taken out."""

    files: dict[PathText, tuple[ForgottenFile, ...]] = field(default_factory=dict[str, tuple[ForgottenFile, ...]])
    format: int = 1

    def knows(self, path: str) -> bool:
        """Return whether some content of this path was taken out."""
        return path in self.files

    def has(self, path: str, sha256: str | None) -> bool:
        """Return whether this content of this path was taken out."""
        return any(file.sha256 in {None, sha256} for file in self.files.get(path, ()))


def read_forgotten(store: ObjectStore) -> Forgotten:
    """Return the list of files taken out.

    Raises:
        StoreCorruptionError: It is damaged; what was taken out must not come back without a word.
    """
    return read_document(store, FORGOTTEN_KEY, Forgotten) or Forgotten()


def change_forgotten(
    store: ObjectStore, added: Iterable[tuple[str, ForgottenFile]], removed: Iterable[str] = ()
) -> Forgotten:
    """Add files to the list, and remove files from it.

    Args:
        store: The lake.
        added: Path and content of each file to add.
        removed: Paths of the files to remove, whatever their content.

    Raises:
        StoreCorruptionError: The list is damaged.
        StoreUnavailableError: Others change it without a pause.
    """
    added, dropped = list(added), set(removed)
    for _ in range(_MOST_ATTEMPTS):
        found = store.read_with_tag(FORGOTTEN_KEY, MAX_DOCUMENT_BYTES)
        before = parse_document(Forgotten, found[0], store.uri_of(FORGOTTEN_KEY)) if found else Forgotten()
        kept = {path: files for path, files in before.files.items() if path not in dropped}
        for path, file in added:
            if not Forgotten(kept).has(path, file.sha256):
                kept[path] = (*kept.get(path, ()), file)
        after = Forgotten(dict(sorted(kept.items())))
        if after == before or replace_alone(store, FORGOTTEN_KEY, dump_document(after), found[1] if found else None):
            return after
    raise StoreUnavailableError(
        f"{store.uri_of(FORGOTTEN_KEY)} was changed {_MOST_ATTEMPTS} times in the meantime.", "Run the command again."
    )
