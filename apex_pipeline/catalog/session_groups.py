"""Packs a table of many sessions into a few files, for a store that keeps what is made of its objects.

The laps of 1,600 sessions are 1,600 objects, named in as many records: 3,200 requests and 13 s of CPU in every process
that reads them. Neither ever changes, so the first process leaves them on the disk, some sessions in each file, and the
next one asks the store for the snapshot and its shards. The name of a file is made of the digests of its sessions'
records: a session that changed costs the requests of its group. See ``published_tables.py`` for who reads them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from apex_pipeline.lake.snapshot import Snapshot, shard_number
from apex_pipeline.tables.session_key import SessionKey

# Mean number of sessions in a group. A changed session costs two requests for each in its group, and a file takes 1 ms
# to open: of 1,600 sessions there are 200.
_SESSIONS_EACH = 8
# Part of the names, so that a later version does not read files that it would write differently.
_FORM = "apex session group 1"


@dataclass(frozen=True)
class SessionGroup:
    """Some sessions whose tables are kept together.

    Attributes:
        name: Of their file: equal for two snapshots only if they publish the same of each of these sessions.
        keys: The sessions, in the order of their tables.
    """

    name: str
    keys: tuple[SessionKey, ...]


def group_sessions(snapshot: Snapshot, table: str, keys: Iterable[SessionKey]) -> list[SessionGroup]:
    """Return the groups of these sessions for a table, in their order; those that are not published are left out.

    A group ends where the name of a session says so, so that one more session changes the group it comes into only.
    """
    entries = snapshot.entries
    groups: list[list[SessionKey]] = [[]]
    for key in filter(entries.__contains__, keys):
        groups[-1].append(key)
        if shard_number(key, _SESSIONS_EACH) == 0:
            groups.append([])
    texts = [[f"{key} {entries[key].record}" for key in group] for group in groups]
    return [
        SessionGroup(hashlib.sha256("\n".join([_FORM, table, *text]).encode()).hexdigest(), tuple(group))
        for group, text in zip(groups, texts, strict=True)
        if group
    ]


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables as one; columns that only some of them have are null in the others."""
    plain = [table.replace_schema_metadata(None) for table in tables]
    return pa.concat_tables(plain, promote_options="default") if plain else pa.table({})


def pack_table(table: pa.Table) -> bytes:
    """Return a table of several sessions as an Arrow stream."""
    # A stream has one dictionary per column.
    whole = table.unify_dictionaries().combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, whole.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(whole)
    return sink.getvalue().to_pybytes()


def unpack_table(content: bytes) -> pa.Table:
    """Return the table that was packed."""
    with pa.ipc.open_stream(pa.BufferReader(content)) as reader:
        return reader.read_all()
