"""Sets the limits for deriving tables on this machine: memory, a scratch folder, and the limits on raw files."""

import errno
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from apex_pipeline.errors import StorageFullError
from apex_pipeline.progress import Progress
from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits, RowBudget

# A Dagster run with Arrow, the compiled kernels and the chunks in flight takes 430 MB before the first car.
_BASELINE_BYTES = 450_000_000
# One car is pivoted while the previous one is written, which takes two thirds as much memory again.
_SHARE_PER_CAR = 0.4
# If that leaves nothing, a car is processed in many small time ranges: slow, but it works.
_MIN_SHARE = 0.05
# The rows of lap and official timing files are kept in memory, and are all that is there besides the tables. With the
# smallest limit, a race of 24 hours does not fit.
_SHARE_OF_ROWS, _MIN_SHARE_OF_ROWS = 0.8, 0.2


@dataclass(frozen=True)
class Workspace:
    """Limits for deriving the tables of a session on this machine.

    Attributes:
        memory_limit: Bytes the whole process may use.
        scratch: Folder for temporary files, which take a tenth to a third of the size of the raw files.
        progress: Called after each read with the number of raw bytes read.
        file_metadata: Entries to write into the metadata of every staged Parquet file.
        limits: Limits on raw files; a file that exceeds one is left out.
    """

    memory_limit: int
    scratch: Path
    progress: Progress | None = None
    file_metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    limits: Limits = DEFAULT_LIMITS

    @property
    def bytes_for_one_car(self) -> int:
        """Bytes that the readings and rows of one car may take up at a time."""
        available = (self.memory_limit - _BASELINE_BYTES) * _SHARE_PER_CAR
        return int(max(available, self.memory_limit * _MIN_SHARE))

    @property
    def bytes_for_rows(self) -> int:
        """Bytes that the rows of all cars may take up, where they are needed together."""
        available = (self.memory_limit - _BASELINE_BYTES) * _SHARE_OF_ROWS
        return int(max(available, self.memory_limit * _MIN_SHARE_OF_ROWS))

    def row_budget(self, bytes_per_row: int) -> RowBudget:
        """Return the memory for the rows of the lap files, or of the official timing, of a session.

        Args:
            bytes_per_row: Memory of one row with what is derived from it, in addition to its text.
        """
        return RowBudget(self.limits, self.bytes_for_rows, bytes_per_row)


@contextmanager
def scratch_folder(workspace: Workspace) -> Generator[Path]:
    """Create a temporary folder that is deleted on exit.

    Raises:
        StorageFullError: The code that uses the folder ran out of memory or disk space.
    """
    workspace.scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="telemetry-", dir=workspace.scratch))
    try:
        yield folder
    except MemoryError as error:
        raise _out_of_space(workspace, "no memory left") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _out_of_space(workspace, "no space left on device") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _out_of_space(workspace: Workspace, cause: str) -> StorageFullError:
    return StorageFullError(
        f"Processing telemetry ran out of memory or disk space in {workspace.scratch}: {cause}.",
        "Raise APEX_MEMORY_LIMIT, free disk space there, or point APEX_STATE_DIR at a larger disk.",
    )
