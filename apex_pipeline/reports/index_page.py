"""Writes the index of a lake: every session with its best lap, its quality and where to read more.

A pure function of tables; it needs no script. ``index_tables.py`` reads the tables from a catalog.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import pyarrow as pa

from apex_pipeline.amounts import lap_time
from apex_pipeline.reports.content_policy import content_policy
from apex_pipeline.reports.markup import Column, missing, name, paragraph, table, text
from apex_pipeline.reports.page_style import page_style
from apex_pipeline.tables.model import Row

_COLUMNS = (
    Column("Session", is_text=True),
    Column("Best lap"),
    Column("of car", is_text=True),
    Column("Quality"),
    Column("Kind", is_text=True),
    Column("Missing files", is_text=True),
)
_KINDS = ("race", "qualifying", "practice", "other")


@dataclass(frozen=True)
class IndexFilter:
    """Which sessions to show; an empty text is no restriction.

    Attributes:
        track: Part of the slug or name of a track, in any case.
        kind: ``race``, ``qualifying``, ``practice`` or ``other``.
        has: A kind of raw file that the session has, like ``telemetry``.
    """

    track: str = ""
    kind: str = ""
    has: str = ""

    def keeps(self, session: Row, track_name: str) -> bool:
        """Return whether a session is shown."""
        names = f"{session['track']} {track_name}".casefold()
        return (
            self.track.strip().casefold() in names
            and self.kind in {"", session["session_type"]}
            and (not self.has or self.has in session["kinds"])
        )


@dataclass(frozen=True)
class IndexTables:
    """What the index is made of.

    Attributes:
        sessions: The table ``sessions``, with those that are known and not published.
        tracks: The table ``tracks``.
        best: A row for each session with a valid lap: ``track``, ``session``, ``car_number``, ``lap_time_s``.
        quality: A row for each session with a score: ``track``, ``session``, ``score``.
    """

    sessions: pa.Table
    tracks: pa.Table
    best: pa.Table
    quality: pa.Table


def index_page(tables: IndexTables, chosen: IndexFilter, snapshot: str) -> str:
    """Return the index as an HTML document.

    Args:
        tables: What is published.
        chosen: Which sessions to show.
        snapshot: Id of the snapshot that the tables are from.
    """
    names = {row["track"]: row["track_name"] for row in tables.tracks.to_pylist()}
    best, quality = _by_session(tables.best), _by_session(tables.quality)
    sessions = tables.sessions.to_pylist()
    shown = [row for row in sessions if chosen.keeps(row, names.get(row["track"]) or "")]
    rows = [_cells(row, names, best.get(_key(row), {}), quality.get(_key(row), {})) for row in shown]
    about = paragraph("Quality: the lowest score, 100 is perfect. CSV and Parquet: the laps.", "m")
    found = table(f"{len(shown):,} of {len(sessions):,} sessions", _COLUMNS, rows) + about if shown else ""
    empty = "" if shown else missing("No session is like this.")
    style = page_style()
    policy = content_policy(style, form_action="'self'")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{policy}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>Sessions</title><style>{style}</style></head><body><header><h1>Sessions</h1>"
        f"{paragraph(f'From snapshot {snapshot}.', 'm')}</header><main><section>{_form(chosen, sessions)}</section>"
        f'<section class="index">{found}{empty}</section></main></body></html>\n'
    )


def _key(row: Row) -> tuple[str, str]:
    return row["track"], row["session"]


def _by_session(rows: pa.Table) -> dict[tuple[str, str], Row]:
    return {_key(row): row for row in rows.to_pylist()}


def _cells(row: Row, names: Mapping[str, str], best: Row, quality: Row) -> list[str]:
    title = f"{name(names.get(row['track']) or row['track'])} {name(row['session'])}"
    time_s, score = best.get("lap_time_s"), quality.get("score")
    number = best.get("car_number")
    return [
        f"{title}<br>{_links(row) if row['is_published'] else 'not published'}",
        "\u2013" if time_s is None else lap_time(time_s),
        "\u2013" if number is None else name(f"#{number}"),
        "\u2013" if score is None else f"{score:.0f}",
        text(row["session_type"]),
        text(", ".join(row["missing_kinds"]) or "none"),
    ]


def _links(row: Row) -> str:
    base = f"/api/v1/sessions/{quote(row['track'], safe='')}/{quote(row['session'], safe='')}"
    links = (
        (f"{base}/report", "report"),
        (f"{base}/laps?format=csv", "CSV"),
        (f"{base}/laps.parquet", "Parquet"),
    )
    return " ".join(f'<a href="{text(address)}">{words}</a>' for address, words in links)


def _form(chosen: IndexFilter, sessions: Iterable[Row]) -> str:
    kinds = sorted({kind for row in sessions for kind in row["kinds"]})
    return (
        '<form method="get" action="/">'
        f'<label>Track <input name="track" type="search" value="{text(chosen.track)}"></label>'
        f"{_select('Kind', 'kind', _KINDS, chosen.kind)}{_select('With files of', 'has', kinds, chosen.has)}"
        '<button type="submit">Show</button> <a href="/">all</a></form>'
    )


def _select(label: str, parameter: str, values: Iterable[str], chosen: str) -> str:
    options = "".join(
        f'<option value="{text(value)}"{" selected" if value == chosen else ""}>{text(value or "any")}</option>'
        for value in ("", *values)
    )
    return f'<label>{label} <select name="{parameter}">{options}</select></label>'
