"""Opens the raw files of a lake for the sources, which know paths and no stores."""

from contextlib import AbstractContextManager
from typing import BinaryIO

from apex_pipeline.sources.base import FileOpener
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import raw_key


def raw_file_opener(store: ObjectStore) -> FileOpener:
    """Return a function that opens a raw file where it lies: gigabytes need no copy on this machine's disk.

    What crosses a network is verified: reading to the end raises if the bytes are not those recorded.
    """

    def open_file(path: str) -> AbstractContextManager[BinaryIO]:
        return store.open_stream(raw_key(path))

    return open_file
