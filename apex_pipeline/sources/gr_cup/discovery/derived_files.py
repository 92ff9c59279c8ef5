"""Recognises tables that somebody derived from race files and left next to them.

A derived table has some columns of a race file, often with others that were computed (``lap_time_s``, ``lap_delta``),
and is in a folder such as ``processed``. It must not count as a second witness, nor stop the session. A table of laps
elsewhere stays quarantined under its kind: the loaders read it if it is the only one. See ``identify.py``.
"""

from pathlib import PurePosixPath

from apex_pipeline.sources.gr_cup.discovery.sniff import FileContents
from apex_pipeline.sources.gr_cup.kinds import CAR_KINDS, FileKind
from apex_pipeline.sources.normalize import normalize_name

DERIVED_REASON = "a table derived from race files, not one of them; it is set aside"

_DERIVED_WORDS = frozenset(
    """
    aggregated analysis_output calculated clean cleaned computed derived engineered enriched feature features
    interim intermediate merged output outputs processed prepared results_out summary transformed
    """.split()  # noqa: SIM905  -- a list of words is easier to read
)
# A race file of the cars has all of these columns; a derived one has some of them.
_CAR_COLUMNS = frozenset({"vehicle_id", "vehicle_number", "lap", "timestamp", "outing", "telemetry_name"})
# With fewer, it is a table about something else.
_MIN_COLUMNS = 2
_OFFICIAL_COLUMNS = frozenset({"NUMBER", "LAP_NUMBER", "LAP_TIME", "POSITION"})


def is_derived(path: str, contents: FileContents, kind: FileKind) -> bool:
    """Return whether a readable file is a derived table.

    Args:
        path: Its path.
        contents: Its header and first rows.
        kind: Kind that its name or header says.
    """
    if kind in contents.kinds:
        # All columns of a race file: only computed ones and the folder together say that it is derived.
        return kind in CAR_KINDS and contents.other_columns > 0 and _is_in_derived_folder(path)
    known = _CAR_COLUMNS.union(_OFFICIAL_COLUMNS) & set(contents.columns)
    return not contents.kinds and len(known) >= _MIN_COLUMNS and _is_in_derived_folder(path)


def _is_in_derived_folder(path: str) -> bool:
    words = {word for part in PurePosixPath(path).parts[:-1] for word in normalize_name(part).split("_")}
    return bool(words & _DERIVED_WORDS)
