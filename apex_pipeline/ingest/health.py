"""Finds the sessions of a lake that are not as they should be, each with what to do about it.

Only reads the roll-ups and what is published. Sessions whose run failed are known to the orchestrator alone, which adds
them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from apex_pipeline.lake.published_session import SessionEntry
from apex_pipeline.lake.rollups import RollUps
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

# Files set aside that are named for one session; the rest are only counted.
_NAMED_FILES = 3


@dataclass(frozen=True)
class Finding:
    """A session that is not as it should be.

    Attributes:
        session: The session, as text.
        state: ``failed`` if its last run failed, ``stale`` if what is published is of other files than the lake has,
            ``doubtful`` if some of its files are not used or cannot be.
        problem: What is wrong.
        remedy: What to do about it.
    """

    session: str
    state: Literal["failed", "stale", "doubtful"]
    problem: str
    remedy: str


def lake_findings(roll_ups: RollUps, entries: Mapping[SessionKey, SessionEntry]) -> list[Finding]:
    """Return the stale and doubtful sessions, sorted.

    Args:
        roll_ups: The roll-ups.
        entries: What is published.
    """
    aside = _files_set_aside(roll_ups)
    rows = roll_ups.sessions.select(["track", "session", "inputs_version"]).to_pylist()
    stale = (finding for row in rows if (finding := _stale(row, entries)))
    doubtful = (_doubtful(key, files) for key, files in aside.items())
    return sorted([*stale, *doubtful], key=lambda finding: (finding.session, finding.state))


def _stale(row: Row, entries: Mapping[SessionKey, SessionEntry]) -> Finding | None:
    key, version = SessionKey(str(row["track"]), str(row["session"])), row["inputs_version"]
    entry = entries.get(key)
    if not version or (entry is not None and version in {entry.inputs_version, entry.rolled_back_from}):
        return None
    problem = "It is recorded and not published."
    if entry is not None:
        problem = "What is published was derived from other files."
    remedy = (
        f"Launch the job sync_session for the partition {key}, or derive_session where its source folder is not; the "
        "sensor sync_source does the same."
    )
    return Finding(str(key), "stale", problem, remedy)


def _doubtful(key: SessionKey, files: Sequence[str]) -> Finding:
    rest = len(files) - _NAMED_FILES
    more = f"; and {rest} more" if rest > 0 else ""
    problem = f"Files are set aside: {'; '.join(files[:_NAMED_FILES])}{more}."
    return Finding(str(key), "doubtful", problem, "Replace them in the source folder, or remove them.")


def _files_set_aside(roll_ups: RollUps) -> dict[SessionKey, list[str]]:
    found: dict[SessionKey, list[str]] = {}
    names = ("path", "track", "session", "status", "reason")
    for path, track, session, status, reason in zip(*(roll_ups.files[name].to_pylist() for name in names), strict=True):
        if track and session and status in {"quarantined", "unresolved"}:
            found.setdefault(SessionKey(track, session), []).append(f"{path} ({reason})")
    return found
