"""Defines the catalog tables: files, tracks, sessions."""

from dataclasses import replace

from apex_pipeline.tables.columns import SESSION, TRACK
from apex_pipeline.tables.model import Column, Table

FILES = Table(
    name="files",
    folder="catalog",
    description="One row per file seen, with what it is and what became of it.",
    key=("path",),
    sort_by=("path",),
    columns=(
        Column("path", "string", "Path relative to the source folder and to data/ in the lake.", required=True),
        Column("bytes", "integer", "Size.", required=True, minimum=0),
        Column("sha256", "string", "SHA-256 of the content; null if another program uploaded it without one."),
        Column("store_tag", "string", "The store's own version mark of the object; null where it is not in the store."),
        Column("content_version", "string", "Distinguishes contents: sha256, else the store's own tag."),
        Column("source_version", "string", "Version of the object in the source bucket; null for files of a folder."),
        Column("kind", "category", "lap_start, telemetry, sections …", required=True),
        Column("source", "category", "Source that reads the file; null where none does."),
        Column("track", "category", "Track slug."),
        Column("track_name", "category", "Track as people write it."),
        Column("session", "category", "Session."),
        Column("season", "category", "Season, where a folder or the content says it."),
        Column("event_code", "category", "meta_event of car data, for example I_R06_2025-09-07."),
        Column("version", "category", "official or provisional, for results."),
        Column("rule", "category", "The rule that decided.", required=True),
        Column("evidence", "string_list", "What the decision rests on, a sentence each.", required=True),
        Column("confidence", "float", "How sure the decision is.", required=True, minimum=0, maximum=1),
        Column(
            "status",
            "category",
            "ready is used; quarantined contradicts itself; unresolved is not understood; ignored is not race data.",
            required=True,
            allowed=("ready", "quarantined", "unresolved", "ignored"),
        ),
        Column("reason", "string", "Why the file is not used."),
    ),
)

TRACKS = Table(
    name="tracks",
    folder="catalog",
    description="One row per track with at least one session.",
    key=("track",),
    sort_by=("track",),
    columns=(
        replace(TRACK, kind="string"),
        Column("track_name", "string", "Track as people write it.", required=True),
        Column("sessions", "integer", "Number of sessions.", required=True, minimum=1),
        Column("files", "integer", "Number of files in use.", required=True, minimum=0),
        Column("bytes", "integer", "Their size.", required=True, minimum=0),
    ),
)

SESSIONS = Table(
    name="sessions",
    folder="catalog",
    description="One row per session, with the raw files it has and misses.",
    key=("track", "session"),
    sort_by=("track", "session"),
    columns=(
        replace(TRACK, kind="string"),
        replace(SESSION, kind="string"),
        Column("session_type", "category", "race, qualifying, practice or other.", required=True),
        Column("season", "category", "Season, where known."),
        Column("event_code", "category", "meta_event of the car data."),
        Column("kinds", "string_list", "Kinds of raw file in use.", required=True),
        Column("missing_kinds", "string_list", "Kinds of raw file a full session would also have.", required=True),
        Column("files", "integer", "Number of files in use.", required=True, minimum=0),
        Column("quarantined_files", "integer", "Number of files set aside.", required=True, minimum=0),
        Column("bytes", "integer", "Size of the files in use.", required=True, minimum=0),
        Column(
            "inputs_version",
            "string",
            "Fingerprint of the files in use: tables are made again when it changes.",
            required=True,
        ),
    ),
)

# As readers of a snapshot get it. The roll-up does not say what is published: a rollback would outdate it.
LISTED_SESSIONS = replace(
    SESSIONS,
    columns=(
        *SESSIONS.columns,
        Column(
            "is_published",
            "boolean",
            "The snapshot has the session's tables. Otherwise it is only known: its tables could not be derived, or a "
            "rollback took it out. Not in the file catalog/sessions.parquet, which belongs to no snapshot.",
            required=True,
        ),
    ),
)
