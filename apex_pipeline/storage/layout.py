"""Where everything is kept in the lake: one function or constant per place.

Here belong keys only. What is in the objects is said in ``tables``; who may write where is decided by the callers.
"""

from apex_pipeline.storage.keys import check_key

RAW_PREFIX = "data/"
TABLES_PREFIX = "tables/"
CATALOG_PREFIX = "catalog/"
SNAPSHOTS_PREFIX = "catalog/snapshots/"
HISTORY_PREFIX = "history/"
QUARANTINE_PREFIX = "quarantine/"
# Names the snapshot that is published now; swapped last.
CURRENT_SNAPSHOT_KEY = "catalog/current.json"


def raw_key(path: str) -> str:
    """Return where the raw file with this path (POSIX, relative to the source folder) is kept.

    Raises:
        HostileKeyError: The path would leave the lake.
    """
    return check_key(RAW_PREFIX + path)


def raw_path(key: str) -> str:
    """Return the path relative to the source folder that :func:`raw_key` made ``key`` from.

    Raises:
        ValueError: The key is not one of a raw file.
    """
    path = key.removeprefix(RAW_PREFIX)
    if path == key or not path:
        raise ValueError(f"{key!r} is not the key of a raw file: those begin with {RAW_PREFIX}")
    return path


def table_key(folder: str, name: str, partition: str | None = None) -> str:
    """Return where a table file is kept.

    Args:
        folder: Group of the table, ``tables`` or ``catalog``.
        name: Name of the table.
        partition: ``track/session``, or ``None`` for a table that has no partitions.

    Returns:
        For example ``tables/laps/track=sebring/session=R1/laps.parquet`` or ``catalog/files.parquet``. The
        ``name=value`` segments are what pandas, pyarrow and DuckDB read as columns.

    Raises:
        ValueError: The partition is not ``track/session``.
        HostileKeyError: A part would leave the lake.
    """
    if partition is None:
        return check_key(f"{folder}/{name}.parquet")
    parts = partition.split("/")
    if len(parts) != len(("track", "session")) or not all(parts):
        raise ValueError(f"{partition!r} is not a partition: it should be track/session")
    track, session = parts
    return check_key(f"{folder}/{name}/track={track}/session={session}/{name}.parquet")


def history_key(sha256: str) -> str:
    """Return where a replaced table file with this digest is kept."""
    return check_key(f"{HISTORY_PREFIX}{sha256}.parquet")


def quarantine_reason_key(path: str) -> str:
    """Return where the reason for setting a raw file aside is kept.

    Raises:
        HostileKeyError: The path would leave the lake.
    """
    return check_key(f"{QUARANTINE_PREFIX}{path}.reason.json")


def snapshot_key(snapshot_id: str) -> str:
    """Return where a snapshot's manifest is kept."""
    return check_key(f"{SNAPSHOTS_PREFIX}{snapshot_id}.json")


def snapshot_table_key(snapshot_id: str, name: str) -> str:
    """Return where a snapshot's copy of a catalog table is kept."""
    return check_key(f"{SNAPSHOTS_PREFIX}{snapshot_id}/{name}.parquet")
