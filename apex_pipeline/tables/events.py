"""Defines the tables of rotated events: their records, and what could not be read."""

from apex_pipeline.tables.model import Column, Table

_FILE = Column("file", "category", "Key of the delivered file.", required=True)
_SHA256 = Column("file_sha256", "category", "SHA-256 of the delivered file.", required=True)
_POSITION = Column(
    "position_in_file",
    "integer",
    "Place among the events of the file, from 0; rejected ones count.",
    required=True,
    minimum=0,
)
_OFFSET = Column(
    "byte_offset", "integer", "First byte in the file, after decompression.", "bytes", required=True, minimum=0
)

RECORDS = Table(
    name="records",
    folder="events",
    description="One row per event of the files that a source delivered on one UTC day.",
    key=("event_id",),
    sort_by=("file", "position_in_file"),
    columns=(
        Column("event_time_utc", "timestamp_utc", "Time of the event, where it says one; see the mapping."),
        _FILE,
        _SHA256,
        _POSITION,
        _OFFSET,
        Column("event_id", "string", "Hash of file and position: the same whenever it is read.", required=True),
        Column("event_type", "category", "Type of the event as it says, or the tag of an XML event."),
        Column("source", "category", "Source that delivered the file.", required=True),
        Column(
            "payload", "string", "The complete event as JSON text; XML as docs/events-records.md says.", required=True
        ),
        Column("flags", "string_list", "What is odd about it: contradicted_encoding, big_number, duplicate_keys."),
    ),
)

EVENT_REJECTS = Table(
    name="rejects",
    folder="events",
    description="One row per part of a delivered file that should be an event and cannot be used.",
    key=("file", "position_in_file"),
    sort_by=("file", "position_in_file"),
    columns=(
        _FILE,
        _SHA256,
        _POSITION,
        _OFFSET,
        Column("length", "integer", "Number of bytes in the file.", "bytes", required=True, minimum=0),
        Column("line", "integer", "Line of the first byte, from 1.", required=True, minimum=1),
        Column("source", "category", "Source that delivered the file.", required=True),
        Column("reason", "category", "What is wrong, one of a few fixed words.", required=True),
        Column("detail", "string", "What is wrong in words, without content of the file.", required=True),
        Column("content", "binary", "The first 64 KB of the part, as they are in the file.", is_personal=True),
    ),
)

EVENT_TABLES = (RECORDS, EVENT_REJECTS)
