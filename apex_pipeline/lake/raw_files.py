"""Opens a lake's raw files by path, so that the sources do not depend on a store."""

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import BinaryIO

from apex_pipeline.errors import FileChangedError, ObjectMissingError
from apex_pipeline.lake.records import RecordedFile, SessionRecord
from apex_pipeline.sources.base import FileOpener
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import raw_key


def raw_file_opener(store: ObjectStore) -> FileOpener:
    """Return a function that opens a raw file by its path, as a stream without a local copy.

    Content read over a network is verified: the read that reaches the end raises if the content does not match the
    recorded digest.
    """

    def open_file(path: str) -> AbstractContextManager[BinaryIO]:
        return store.open_stream(raw_key(path))

    return open_file


def recorded_file_opener(store: ObjectStore, record: SessionRecord) -> FileOpener:
    """Return a function that opens a raw file of a session by its path, if it still is the recorded one.

    A file is the recorded one if size and tag are; where the tag is another one, as in a lake that was copied, the
    digests are compared.
    """
    files = {file.path: file for file in record.files}

    @contextmanager
    def open_file(path: str) -> Generator[BinaryIO]:
        file, key = files[path], raw_key(path)
        opened = store.open_stream(key, lambda found: _require_recorded(store, file, found, record.key))
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(opened)
            except ObjectMissingError as error:
                raise ObjectMissingError(
                    f"{store.uri_of(key)}, a file of the session {record.key}, is missing.",
                    f"Put it back into the source folder and materialize the asset lake/files of the partition "
                    f"{record.key}, or take it out of the lake and materialize lake/session.",
                ) from error
            yield stream

    return open_file


def _require_recorded(store: ObjectStore, file: RecordedFile, found: ObjectInfo, session: str) -> None:
    """Raise an error if a file is not the recorded one.

    Raises:
        FileChangedError: It has another content.
    """
    if found.size == file.bytes and (found.tag == file.tag or _has_digest(store, found, file.sha256)):
        return
    raise FileChangedError(
        f"{store.uri_of(found.key)} is not the file that the session {session} was recorded with.",
        f"Materialize the asset lake/session of the partition {session} again.",
    )


def _has_digest(store: ObjectStore, found: ObjectInfo, sha256: str | None) -> bool:
    """Return whether an object has this digest; that of a file is looked up, unless it was replaced meanwhile."""
    if sha256 is None or found.sha256 is not None:
        return sha256 is not None and found.sha256 == sha256
    looked_up = store.head(found.key)
    return looked_up is not None and (looked_up.tag, looked_up.sha256) == (found.tag, sha256)
