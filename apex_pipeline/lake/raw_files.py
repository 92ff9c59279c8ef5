"""Opens a lake's raw files by path, so that the sources do not depend on a store."""

from contextlib import AbstractContextManager
from typing import BinaryIO

from apex_pipeline.sources.base import FileOpener
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import raw_key


def raw_file_opener(store: ObjectStore) -> FileOpener:
    """Return a function that opens a raw file by its path, as a stream without a local copy.

    Content read over a network is verified: the read that reaches the end raises if the content does not match the
    recorded digest.
    """

    def open_file(path: str) -> AbstractContextManager[BinaryIO]:
        return store.open_stream(raw_key(path))

    return open_file
