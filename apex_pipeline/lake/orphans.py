"""Describes the objects of a lake that nothing names, according to their prefix; see retention.py for removal.

An orphan is not an error, but worth reporting.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from apex_pipeline.lake.forgotten import Forgotten
from apex_pipeline.storage.layout import (
    CATALOG_PREFIX,
    DERIVED_PREFIX,
    HISTORY_PREFIX,
    OBJECTS_PREFIX,
    PUBLISHED_PREFIX,
    QUARANTINE_PREFIX,
    RAW_PREFIX,
    RECORDS_PREFIX,
    REPORTS_PREFIX,
    SHARDS_PREFIX,
    SNAPSHOTS_PREFIX,
    TABLES_PREFIX,
    is_race_table,
    raw_path,
)

_UNREFERENCED = "is not referenced by any snapshot; `apex gc` removes it once it expires"
# Note per prefix; more specific prefixes come first.
_NOTES = (
    (RAW_PREFIX, "is not in any record: the next sync adds it"),
    (TABLES_PREFIX, "does not belong to a published session"),
    (OBJECTS_PREFIX, _UNREFERENCED),
    (HISTORY_PREFIX, _UNREFERENCED),
    (SHARDS_PREFIX, _UNREFERENCED),
    (PUBLISHED_PREFIX, _UNREFERENCED),
    (SNAPSHOTS_PREFIX, "does not belong to a snapshot; `apex gc` removes it once it expires"),
    (RECORDS_PREFIX, "is not the record of a session"),
    (DERIVED_PREFIX, "is not the list of a session's derived tables"),
    (CATALOG_PREFIX, "is not part of the catalog"),
    (QUARANTINE_PREFIX, "is the quarantine reason of a file that is not quarantined"),
    (REPORTS_PREFIX, "is not the report of a published session; `apex gc` removes it once it expires"),
)
# Everything that a lake consists of. Objects below other prefixes belong to other programs, or say what is being done.
PREFIXES = (
    RAW_PREFIX,
    TABLES_PREFIX,
    OBJECTS_PREFIX,
    HISTORY_PREFIX,
    CATALOG_PREFIX,
    QUARANTINE_PREFIX,
    REPORTS_PREFIX,
)


@dataclass(frozen=True)
class OrphanNote:
    """An observation about an object.

    Attributes:
        key: The object's key.
        note: The observation, phrased to follow the key.
    """

    key: str
    note: str


def find_orphans(keys: Iterable[str], forgotten: Forgotten) -> list[OrphanNote]:
    """Return a note for every unreferenced object, sorted by key; the tables of races belong to their database.

    Args:
        keys: Keys below :data:`PREFIXES` that nothing names.
        forgotten: The files that were taken out.
    """
    return [OrphanNote(key, _note(key, forgotten)) for key in sorted(keys) if not is_race_table(key)]


def _note(key: str, forgotten: Forgotten) -> str:
    if key.startswith(RAW_PREFIX) and forgotten.knows(raw_path(key)):
        return "was taken out with `apex forget`; `apex gc` removes it once it expires"
    return next(note for prefix, note in _NOTES if key.startswith(prefix))
