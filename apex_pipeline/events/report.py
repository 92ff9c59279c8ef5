"""What a pass over a folder has done: the outcome of each file, and the totals.

Contains data only; see ``shipper.py`` for the work and ``cli/events.py`` for how it is printed.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from apex_pipeline.errors import ApexError
from apex_pipeline.events.failures import FAIL_FAST, ErrorClass, classify
from apex_pipeline.exit_codes import ExitCode


class ShipStatus(StrEnum):
    """The outcome of a file.

    Attributes:
        SHIPPED: It was written to the bucket.
        UNCHANGED: It was in the bucket already.
        FAILED: It could not be shipped, or is no file that can be.
        NOT_TRIED: A failure that concerns every file came first.
        WAITING: It is empty, is still being written, waits for an earlier one that is, or is left to the next pass.
        GONE: It was taken away before it could be read.
    """

    SHIPPED = "shipped"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    NOT_TRIED = "not_tried"
    WAITING = "waiting"
    GONE = "gone"


@dataclass(frozen=True)
class ShippedFile:
    """The outcome of one file.

    Attributes:
        name: Its name, for people.
        status: The outcome.
        size: Its size in bytes; 0 if unknown.
        key: Its key in the bucket, if it is there.
        sha256: Digest of its bytes, if it was read.
        moved_to: Where it lies now, if it was moved.
        age_s: Seconds since its last edit, by the clocks of this machine and the file system.
        error_class: Class of the failure.
        problem: Why it failed or waits, with the next step; or why a shipped file was not moved.
    """

    name: str
    status: ShipStatus
    size: int = 0
    key: str | None = None
    sha256: str | None = None
    moved_to: Path | None = None
    age_s: float = 0.0
    error_class: ErrorClass | None = None
    problem: str | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether its bytes are in the bucket."""
        return self.status in {ShipStatus.SHIPPED, ShipStatus.UNCHANGED}


ShipListener = Callable[[ShippedFile], None]


@dataclass(frozen=True)
class ShipReport:
    """What one pass over a folder has done. True if every finished file is in the bucket.

    Attributes:
        uri: Where the files go.
        files: The outcome of each file, in the order of shipping; files that were delivered by an earlier pass and
            left in place are not among them.
        seconds: How long the pass took, without the wait for files to stand still.
        stopped_by: The error that stopped the pass, because every other file would have failed too, if any.
    """

    uri: str
    files: tuple[ShippedFile, ...]
    seconds: float
    stopped_by: ApexError | None = None

    def __bool__(self) -> bool:
        return not (self.of(ShipStatus.FAILED) or self.of(ShipStatus.NOT_TRIED))

    def of(self, status: ShipStatus) -> tuple[ShippedFile, ...]:
        """Return the files with this outcome."""
        return tuple(file for file in self.files if file.status is status)

    @property
    def delivered(self) -> tuple[ShippedFile, ...]:
        """The files that are in the bucket."""
        return tuple(file for file in self.files if file.is_delivered)

    @property
    def bytes(self) -> int:
        """Size in bytes of the files that this pass has written, before compression."""
        return sum(file.size for file in self.of(ShipStatus.SHIPPED))

    @property
    def failures(self) -> dict[ErrorClass, int]:
        """Number of failed files by class of failure."""
        return dict(Counter(file.error_class or ErrorClass.UNKNOWN for file in self.of(ShipStatus.FAILED)))

    @property
    def oldest_waiting(self) -> ShippedFile | None:
        """The file that has waited longest and is not in the bucket, if any."""
        waiting = (file for file in self.files if not file.is_delivered and file.status is not ShipStatus.GONE)
        return max(waiting, key=lambda file: file.age_s, default=None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What went less well than planned with files that were shipped, each sentence once."""
        return tuple(dict.fromkeys(file.problem for file in self.delivered if file.problem))

    @property
    def exit_code(self) -> ExitCode:
        """0 if every finished file is in the bucket, 1 if some are not, 2 if settings or credentials are wrong."""
        if self.stopped_by is not None and classify(self.stopped_by) in FAIL_FAST:
            return ExitCode.BAD_INPUT
        return ExitCode.OK if self else ExitCode.SOME_FAILED

    @property
    def summary(self) -> str:
        """The totals in one line: ``3 shipped, 1 failed, 2 waiting (14,312 bytes in 0.4 s)``."""
        counts = Counter(file.status for file in self.files)
        parts = [f"{counts[status]:,} {status.replace('_', ' ')}" for status in ShipStatus if counts[status]]
        return f"{', '.join(parts) or 'nothing to ship'} ({self.bytes:,} bytes in {self.seconds:.1f} s)"

    def facts(self) -> dict[str, Any]:
        """Return the totals in machine-readable form."""
        oldest = self.oldest_waiting
        counts = Counter(file.status for file in self.files)
        return {
            "uri": self.uri,
            **{status.value: counts[status] for status in ShipStatus},
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "failures": {kind.value: number for kind, number in self.failures.items()},
            "oldest_waiting": None if oldest is None else {"name": oldest.name, "age_s": round(oldest.age_s, 1)},
            "notes": list(self.notes),
            "stopped_by": None if self.stopped_by is None else str(self.stopped_by),
            "exit_code": int(self.exit_code),
        }
