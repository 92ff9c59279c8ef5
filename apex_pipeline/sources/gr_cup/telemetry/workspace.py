"""What reading telemetry may use of this machine: memory, a scratch folder, and a DuckDB within these bounds.

Not here: what is read into it (``loading``) and what is made of it (``conversion``, ``line_passings``).
"""

import errno
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from apex_pipeline.errors import StoreFullError
from apex_pipeline.progress import Progress
from apex_pipeline.sources.gr_cup.telemetry.loading import sql_text

# DuckDB goes about 100 MB over its limit, the interpreter with Dagster needs 250 MB and one car's rows up to 150 MB:
# half of what the process may use is what DuckDB may.
_DUCKDB_SHARE = 0.5
# More threads need more memory each, and two are what the smallest machine has.
_THREADS = 2


@dataclass(frozen=True)
class Workspace:
    """What reading telemetry may use of this machine.

    Attributes:
        memory_limit: Bytes the whole process may use.
        scratch: Folder for temporary files; about the size of the raw files is spilled there.
        progress: Told about raw bytes as they are read.
    """

    memory_limit: int
    scratch: Path
    progress: Progress | None = None


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
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise _no_room(workspace, str(error).splitlines()[0]) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _no_room(workspace, "no space left on device") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _no_room(workspace: Workspace, said: str) -> StoreFullError:
    return StoreFullError(
        f"Reading telemetry ran out of memory or disk in {workspace.scratch}: {said}.",
        "Raise APEX_MEMORY_LIMIT, free disk space there, or point APEX_STATE_DIR to a larger disk.",
    )


@contextmanager
def database(folder: Path, memory_limit: int) -> Generator[duckdb.DuckDBPyConnection]:
    """Give a DuckDB on disk within bounds."""
    with duckdb.connect(str(folder / "readings.duckdb")) as connection:
        connection.execute(f"SET memory_limit = '{int(memory_limit * _DUCKDB_SHARE / 1_000_000)}MB'")
        connection.execute("SET temp_directory = " + sql_text(str(folder)))
        connection.execute(f"SET threads = {_THREADS}")
        connection.execute("SET TimeZone = 'UTC'")
        # The order of the rows means nothing here, and keeping it costs memory.
        connection.execute("SET preserve_insertion_order = false")
        yield connection


__all__ = ["Workspace", "database", "scratch_folder"]
