"""Defines the keys of the lake, one function or constant per kind of object; see ``tables/`` for table schemas."""

import re
from collections.abc import Sequence

from apex_pipeline.storage.keys import check_key

RAW_PREFIX = "data/"
TABLES_PREFIX = "tables/"
CATALOG_PREFIX = "catalog/"
SNAPSHOTS_PREFIX = "catalog/snapshots/"
# Documents of snapshots are named after the time of publication and start with the year. The folders next to them, with
# most of the objects, start with a letter.
SNAPSHOT_IDS_PREFIX = "catalog/snapshots/2"
HISTORY_PREFIX = "history/"
QUARANTINE_PREFIX = "quarantine/"
RECORDS_PREFIX = "catalog/records/"
DERIVED_PREFIX = "catalog/derived/"
SHARDS_PREFIX = "catalog/snapshots/shards/"
PUBLISHED_PREFIX = "catalog/snapshots/sessions/"
OBJECTS_PREFIX = "objects/"
RACES_PREFIX = "races/"
# With the first segment of our keys: a bucket may have a folder of this name from elsewhere.
REPORTS_PREFIX = "reports/track="
# Tables of other code locations, which no snapshot names.
OWN_TABLES_PREFIX = "assets/"
# Bookkeeping of running processes, not data: leases, and the objects that test what a store supports.
INTERNAL_PREFIX = ".apex/"
# Pointer to the published snapshot; replaced as the last step of publishing.
CURRENT_SNAPSHOT_KEY = "catalog/current.json"
# Record of the files that belong to no session. One level above the sessions' records, so it cannot be one of them.
UNASSIGNED_RECORD_KEY = "catalog/records/unassigned.json"
# Files taken out of the lake.
FORGOTTEN_KEY = "catalog/forgotten.json"
# Folders of objects that are named after the digest of their content.
_DIGEST_PREFIXES = (OBJECTS_PREFIX, HISTORY_PREFIX, SHARDS_PREFIX, PUBLISHED_PREFIX)
_DIGEST = re.compile(r"[0-9a-f]{64}")


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


def race_folder(race_id: str) -> str:
    """Return the prefix of the objects of one race that are not tables.

    Raises:
        UnsafeKeyError: The prefix would lead outside the lake.
    """
    return check_key(f"{RACES_PREFIX}{race_id}") + "/"


def race_blob_key(race_id: str) -> str:
    """Return the key of a race as it was uploaded."""
    return check_key(f"{race_folder(race_id)}raw_data.deflate")


def lap_file_key(race_id: str, lap_uuid: str) -> str:
    """Return the key of one lap's samples as a numpy array."""
    return check_key(f"{race_folder(race_id)}laps/{lap_uuid}.npy")


def race_table_key(name: str, race_id: str) -> str:
    """Return the key of a table file of one race, for example ``tables/race_laps/race_id=0198…/race_laps.parquet``.

    Raises:
        UnsafeKeyError: The resulting key would lead outside the lake.
    """
    return check_key(f"{TABLES_PREFIX}{name}/race_id={race_id}/{name}.parquet")


def is_race_table(key: str) -> bool:
    """Return whether a key is that of a table file of a race, which no snapshot of the lake names."""
    return key.startswith(TABLES_PREFIX) and "/race_id=" in key


def own_table_key(path: Sequence[str], partition: str = "") -> str:
    """Return the key of a table of another code location.

    Args:
        path: Segments of its asset key.
        partition: Its folder, such as ``track=sebring/session=R1``; empty for a table without partitions.

    Raises:
        UnsafeKeyError: The key would lead outside the lake.
    """
    folders = "/".join((*path, partition) if partition else path)
    return check_key(f"{OWN_TABLES_PREFIX}{folders}/{path[-1]}.parquet")


def object_key(sha256: str) -> str:
    """Return the key of the table file with this digest, which never changes once it is written."""
    return check_key(f"{OBJECTS_PREFIX}{sha256}.parquet")


def history_key(sha256: str) -> str:
    """Return the key at which lakes of format 1 keep a replaced table file."""
    return check_key(f"{HISTORY_PREFIX}{sha256}.parquet")


def digest_in_key(key: str) -> str | None:
    """Return the digest that a key says its content has; ``None`` for objects that may be replaced."""
    folder, _, name = key.rpartition("/")
    digest = name.partition(".")[0]
    is_named_so = f"{folder}/" in _DIGEST_PREFIXES and _DIGEST.fullmatch(digest) is not None
    return digest if is_named_so else None


def record_key(session: str) -> str:
    """Return the key of a session's record, given ``track/session``."""
    return check_key(f"{RECORDS_PREFIX}{session}.json")


def derived_key(session: str) -> str:
    """Return the key of the list of a session's derived and unpublished tables, given ``track/session``."""
    return check_key(f"{DERIVED_PREFIX}{session}.json")


def shard_key(sha256: str) -> str:
    """Return the key of the part of a snapshot with this digest."""
    return check_key(f"{SHARDS_PREFIX}{sha256}.json")


def published_session_key(sha256: str) -> str:
    """Return the key of the published session with this digest."""
    return check_key(f"{PUBLISHED_PREFIX}{sha256}.json")


def quarantine_reason_key(path: str) -> str:
    """Return the key of the file that records why a raw file is quarantined.

    Raises:
        UnsafeKeyError: The path would lead outside the lake.
    """
    return check_key(f"{QUARANTINE_PREFIX}{path}.reason.json")


def report_key(session: str) -> str:
    """Return the key of a session's report, given ``track/session``.

    Raises:
        UnsafeKeyError: The key would lead outside the lake.
    """
    track, _, name = session.partition("/")
    return check_key(f"{REPORTS_PREFIX}{track}/session={name}/report.html")


def lease_key(name: str) -> str:
    """Return the key of the lease with this name, for example ``sebring/R1``.

    Raises:
        UnsafeKeyError: The key would lead outside the lake.
    """
    return check_key(f"{INTERNAL_PREFIX}leases/{name}.json")


def snapshot_key(snapshot_id: str) -> str:
    """Return the key of a snapshot's manifest."""
    return check_key(f"{SNAPSHOTS_PREFIX}{snapshot_id}.json")


def snapshot_table_key(snapshot_id: str, name: str) -> str:
    """Return the key of a copy of a catalog table that belongs to a snapshot of format 1."""
    return check_key(f"{SNAPSHOTS_PREFIX}{snapshot_id}/{name}.parquet")
