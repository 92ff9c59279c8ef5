"""Defines the keys of the lake, one function or constant per kind of object; see ``tables/`` for table schemas."""

from apex_pipeline.storage.keys import check_key

RAW_PREFIX = "data/"
TABLES_PREFIX = "tables/"
CATALOG_PREFIX = "catalog/"
SNAPSHOTS_PREFIX = "catalog/snapshots/"
HISTORY_PREFIX = "history/"
QUARANTINE_PREFIX = "quarantine/"
# Pointer to the published snapshot; replaced as the last step of publishing.
CURRENT_SNAPSHOT_KEY = "catalog/current.json"


def raw_key(path: str) -> str:
    """Return the key of the raw file with this path (POSIX, relative to the source folder).

    Raises:
        UnsafeKeyError: The path would lead outside the lake.
    """
    return check_key(RAW_PREFIX + path)


def raw_path(key: str) -> str:
    """Return the path of a raw file relative to the source folder; the inverse of :func:`raw_key`.

    Raises:
        ValueError: The key is not that of a raw file.
    """
    path = key.removeprefix(RAW_PREFIX)
    if path == key or not path:
        raise ValueError(f"{key!r} is not the key of a raw file, which would start with {RAW_PREFIX}")
    return path


def table_key(folder: str, name: str, partition: str | None = None) -> str:
    """Return the key of a table file.

    Args:
        folder: Group of the table, ``tables`` or ``catalog``.
        name: Name of the table.
        partition: ``track/session``, or ``None`` for a table without partitions.

    Returns:
        For example ``tables/laps/track=sebring/session=R1/laps.parquet`` or ``catalog/files.parquet``. pandas,
        pyarrow and DuckDB read the ``name=value`` segments as columns.

    Raises:
        ValueError: The partition is not ``track/session``.
        UnsafeKeyError: The resulting key would lead outside the lake.
    """
    if partition is None:
        return check_key(f"{folder}/{name}.parquet")
    parts = partition.split("/")
    if len(parts) != len(("track", "session")) or not all(parts):
        raise ValueError(f"{partition!r} is not a partition: it should be track/session")
    track, session = parts
    return check_key(f"{folder}/{name}/track={track}/session={session}/{name}.parquet")


def history_key(sha256: str) -> str:
    """Return the key under which a replaced table file with this digest is kept."""
    return check_key(f"{HISTORY_PREFIX}{sha256}.parquet")


def quarantine_reason_key(path: str) -> str:
    """Return the key of the file that records why a raw file is quarantined.

    Raises:
        UnsafeKeyError: The path would lead outside the lake.
    """
    return check_key(f"{QUARANTINE_PREFIX}{path}.reason.json")


def snapshot_key(snapshot_id: str) -> str:
    """Return the key of a snapshot's manifest."""
    return check_key(f"{SNAPSHOTS_PREFIX}{snapshot_id}.json")


def snapshot_table_key(snapshot_id: str, name: str) -> str:
    """Return the key of a snapshot's copy of a catalog table."""
    return check_key(f"{SNAPSHOTS_PREFIX}{snapshot_id}/{name}.parquet")
