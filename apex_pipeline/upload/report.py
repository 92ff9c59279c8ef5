"""What an upload did: one record per file, and their sum in words.

Here belong plain values. How the files got there is ``folder.py``; how this is shown, ``printing.py``.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from apex_pipeline.errors import ApexError, StoreAuthError, StoreConfigError, StorePermissionError

_ALL_WELL, _SOME_FAILED, _BAD_CONFIGURATION = 0, 1, 2


class UploadStatus(StrEnum):
    """What became of a file."""

    UPLOADED = "uploaded"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    NOT_TRIED = "not_tried"


@dataclass(frozen=True)
class UploadedFile:
    """One file of the folder.

    Attributes:
        path: POSIX path relative to the folder.
        key: Where it lies in the bucket, or was to lie; ``None`` for what is no file to upload.
        size: Bytes of the file on this disk.
        status: What became of it.
        problem: Why it failed, with what to do.
    """

    path: str
    key: str | None
    size: int
    status: UploadStatus
    problem: str | None = None


@dataclass(frozen=True)
class UploadReport:
    """What became of every file of the folder; each is listed once. True when all are in the bucket.

    Attributes:
        address: Where to, for people.
        files: Every file, sorted by path.
        bytes_sent: Bytes that crossed the network (of compressed files, compressed).
        stopped_by: The error that every further file would have met, if there was one.
        other_forms: Keys that hold one of these files in another form (compressed, or not): left by earlier uploads,
            and never deleted here.
    """

    address: str
    files: tuple[UploadedFile, ...]
    bytes_sent: int = 0
    stopped_by: ApexError | None = None
    other_forms: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return all(file.status in {UploadStatus.UPLOADED, UploadStatus.UNCHANGED} for file in self.files)

    def of(self, status: UploadStatus) -> tuple[UploadedFile, ...]:
        """Return the files of which this became."""
        return tuple(file for file in self.files if file.status is status)

    @property
    def exit_code(self) -> int:
        """0 when all files are in the bucket; 1 when some are not; 2 when credentials or settings are wrong."""
        if isinstance(self.stopped_by, StoreAuthError | StoreConfigError | StorePermissionError):
            return _BAD_CONFIGURATION
        return _ALL_WELL if self else _SOME_FAILED

    @property
    def summary(self) -> str:
        """The sum in one line: ``8 succeeded, 2 failed (5 uploaded, 3 unchanged, 1,204 bytes sent)``."""
        count = {status: len(self.of(status)) for status in UploadStatus}
        uploaded, unchanged = count[UploadStatus.UPLOADED], count[UploadStatus.UNCHANGED]
        left_out = f", {count[UploadStatus.NOT_TRIED]} not tried" if count[UploadStatus.NOT_TRIED] else ""
        return (
            f"{uploaded + unchanged} succeeded, {count[UploadStatus.FAILED]} failed{left_out} "
            f"({uploaded} uploaded, {unchanged} unchanged, {self.bytes_sent:,} bytes sent)"
        )

    def facts(self) -> dict[str, Any]:
        """Return the sum for programs."""
        return {
            "address": self.address,
            **{status.value: len(self.of(status)) for status in UploadStatus},
            "bytes_sent": self.bytes_sent,
            "failures": {file.path: file.problem for file in self.of(UploadStatus.FAILED)},
            "other_forms": list(self.other_forms),
            "exit_code": self.exit_code,
        }


__all__ = ["UploadReport", "UploadStatus", "UploadedFile"]
