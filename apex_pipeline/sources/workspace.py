"""What reading telemetry may use of this machine: memory and a scratch folder.

Not here: what is read (``reading``) and what is made of it (``conversion``, ``line_passings``).
"""

import errno
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from apex_pipeline.errors import StorageFullError
from apex_pipeline.progress import Progress

# A run of Dagster with Arrow, the compiled loops and the pieces being read takes 430 MB before the first car.
_BYTES_BEFORE_THE_FIRST_CAR = 450_000_000
# While one car is written the next is made; writing takes two thirds as much again.
_SHARE_OF_ONE_CAR = 0.4
# Where that leaves nothing, a car is made in many small ranges of time: slowly, but it is made.
_LEAST_SHARE = 0.05


@dataclass(frozen=True)
class Workspace:
    """What reading telemetry may use of this machine.

    Attributes:
        memory_limit: Bytes the whole process may use.
        scratch: Folder for temporary files; a tenth to a third of the raw files' size is held there.
        progress: Told about raw bytes as they are read.
        file_metadata: Entries that every staged Parquet file has to carry in its own metadata.
    """

    memory_limit: int
    scratch: Path
    progress: Progress | None = None
    file_metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def bytes_for_one_car(self) -> int:
        """Bytes that the readings and rows of one car may take at a time."""
        left = (self.memory_limit - _BYTES_BEFORE_THE_FIRST_CAR) * _SHARE_OF_ONE_CAR
        return int(max(left, self.memory_limit * _LEAST_SHARE))


@contextmanager
def scratch_folder(workspace: Workspace) -> Generator[Path]:
    """Give a folder that is gone afterwards.

    Raises:
        StoreFullError: Memory and the disk of the scratch folder do not suffice for what is done meanwhile.
    """
    workspace.scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="telemetry-", dir=workspace.scratch))
    try:
        yield folder
    except MemoryError as error:
        raise _no_room(workspace, "no memory left") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _no_room(workspace, "no space left on device") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _no_room(workspace: Workspace, said: str) -> StorageFullError:
    return StorageFullError(
        f"Reading telemetry ran out of memory or disk in {workspace.scratch}: {said}.",
        "Raise APEX_MEMORY_LIMIT, free disk space there, or point APEX_STATE_DIR to a larger disk.",
    )
