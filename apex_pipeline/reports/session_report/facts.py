"""Gathers what a report says from a session of a catalog; everything after it is a pure function of these facts."""

from dataclasses import dataclass

from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.distance import TrackMap
from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.reports.session_report.traces import Traces, traces_of
from apex_pipeline.tables import LAPS, QUALITY, SESSIONS, TRACKS, WEATHER
from apex_pipeline.tables.model import Row


@dataclass(frozen=True)
class SessionFacts:
    """What is known about a session; rows are those of the tables and questions of the same name.

    Attributes:
        track: Slug of the track.
        track_name: Name of the track as people write it.
        session: Name of the session.
        session_type: ``race``, ``qualifying``, ``practice`` or ``other``; empty if it is not known.
        snapshot: Id of the snapshot that all facts are from.
        note: The session note.
        timing_note: What order, gaps and sectors rest on where official timing is missing.
        results: The final classification, the winner first.
        penalties: The same beside the order on the road.
        chart: Order and gaps on the road, by lap and position.
        sectors: Best sectors of each car, the fastest car first.
        best: Best valid lap of each car, the fastest first.
        weather: Readings, the earliest first.
        quality: Scores of the session and its cars.
        traces: The two best laps on distance, or why there are none.
        track_map: The map of the track, or why there is none.
    """

    track: str
    track_name: str
    session: str
    session_type: str
    snapshot: str
    note: str
    timing_note: str
    results: list[Row]
    penalties: list[Row]
    chart: list[Row]
    sectors: list[Row]
    best: list[Row]
    weather: list[Row]
    quality: list[Row]
    traces: Traces | str
    track_map: TrackMap | str


def facts_of(session: RaceSession) -> SessionFacts:
    """Read what a report needs, of one snapshot.

    Raises:
        StoreCorruptionError: A table file is damaged.
        StoreUnavailableError: The store cannot be reached.
    """
    has_laps = session.catalog.has_table(LAPS.name, *session.key)
    track_names = {row["track"]: row["track_name"] for row in session.catalog.list_arrow(TRACKS.name).to_pylist()}
    return SessionFacts(
        track=session.track,
        track_name=track_names.get(session.track) or session.track,
        session=session.name,
        session_type=_session_type(session),
        snapshot=session.catalog.snapshot.id,
        note=session.note,
        timing_note=session.timing_note,
        results=session.results(frame="arrow").to_pylist(),
        penalties=session.penalties(frame="arrow").to_pylist(),
        chart=session.gaps(frame="arrow").to_pylist() if has_laps else [],
        sectors=session.sectors(frame="arrow").to_pylist() if has_laps else [],
        best=session.best(frame="arrow").to_pylist() if has_laps else [],
        weather=_rows(session, WEATHER.name),
        quality=_rows(session, QUALITY.name),
        traces=traces_of(session) if has_laps else "The session has no laps.",
        track_map=_track_map(session),
    )


def _session_type(session: RaceSession) -> str:
    for row in session.catalog.list_arrow(SESSIONS.name).to_pylist():
        if (row["track"], row["session"]) == session.key:
            return row["session_type"]
    return ""


def _rows(session: RaceSession, name: str) -> list[Row]:
    has_table = session.catalog.has_table(name, *session.key)
    return session.catalog.table_arrow(name, *session.key).to_pylist() if has_table else []


def _track_map(session: RaceSession) -> TrackMap | str:
    try:
        return session.catalog.lap_distances.geometry.map(session.key)
    except ObjectMissingError as error:  # the length of the track is not known
        return str(error)
