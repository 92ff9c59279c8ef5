"""Says in five lines what a catalog, a session or a lap has, as text for a prompt and as HTML for a notebook.

What cannot be read is said, not raised: who looks at an object at a prompt wants to see what is wrong.
"""

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from apex_pipeline.errors import ApexError
from apex_pipeline.reports.amounts import lap_time
from apex_pipeline.tables import LAPS, OFFICIAL_LAPS, RESULTS, TELEMETRY

if TYPE_CHECKING:
    from apex_pipeline.catalog.lap import Lap
    from apex_pipeline.catalog.reader import Catalog
    from apex_pipeline.catalog.session import RaceSession

# Of a session note, which may have a paragraph.
_NOTE_CHARACTERS = 100


def as_text(lines: Sequence[str]) -> str:
    """Return lines as a prompt shows them: the first one names the object."""
    title, *rest = lines
    return "\n".join([f"<{title}>", *(f"  {line}" for line in rest)])


def as_html(lines: Sequence[str]) -> str:
    """Return lines as a notebook shows them; everything in them is text, whatever it looks like."""
    title, *rest = map(escape, lines)
    return f"<div><strong>{title}</strong><br>{'<br>'.join(rest)}</div>"


def catalog_lines(catalog: "Catalog") -> list[str]:
    """Return what a catalog has."""

    def counts() -> str:
        entries = catalog.snapshot.entries
        tracks = sorted({key.track for key in entries})
        rows = sum(entry.rows for entry in entries.values())
        return f"{_count(len(entries), 'session')} of {_count(len(tracks), 'track')}, {rows:,} rows in their tables"

    def tracks() -> str:
        return "tracks: " + _shortened(", ".join(sorted({key.track for key in catalog.snapshot.entries})) or "none")

    return [
        f"Catalog of {catalog.uri}",
        f"snapshot {catalog.snapshot.id}, published {catalog.snapshot.created_utc}",
        _said(counts),
        _said(tracks),
        "ask: .sessions()  .laps()  .session(track, session)  .snapshots()",
    ]


def session_lines(race: "RaceSession") -> list[str]:
    """Return what a session has."""
    catalog, key = race.catalog, race.key

    def laps() -> str:
        table = catalog.table_arrow(LAPS.name, *key)
        cars = len(table["vehicle_id"].unique())
        valid = sum(table["is_valid"].to_pylist())
        return f"{_count(cars, 'car')}, {_count(table.num_rows, 'lap')}, {valid} of them valid; {_best(race)}"

    def rows(name: str) -> int:
        return catalog.rows(name, *key) if catalog.has_table(name, *key) else 0

    return [
        f"RaceSession {key} of {catalog.uri}",
        _said(laps),
        _said(lambda: f"telemetry: {_count(rows(TELEMETRY.name), 'sample')}"),
        _said(lambda: f"official timing: {_count(rows(OFFICIAL_LAPS.name), 'lap')}, {rows(RESULTS.name):,} results"),
        _said(lambda: f"note: {_shortened(race.note) or 'none'}"),
    ]


def lap_lines(lap: "Lap") -> list[str]:
    """Return what is known about a lap."""
    sure = "" if lap.confidence is None else f", confidence {lap.confidence:.2f}"
    flags = f"; {', '.join(lap.flags)}" if lap.flags else ""
    number = lap.car_number or "number undecided"
    return [
        f"Lap {lap.number} of car {number} ({lap.vehicle_id}) in {lap.session.key}",
        f"time {'not known' if lap.time_s is None else lap_time(lap.time_s)} ({lap.method or 'no method'}{sure})",
        f"{'valid' if lap.is_valid else 'doubtful'}{flags}",
        f"line: {_moment(lap.line_start_utc)} to {_moment(lap.line_end_utc)} ({lap.line_method or 'not known'})",
        _said(lambda: f"telemetry: {lap.telemetry_note or 'there is some'}"),
    ]


def _best(race: "RaceSession") -> str:
    best = race.best(frame="arrow").slice(0, 1).to_pylist()
    if not best:
        return "no best lap"
    by = f"car {best[0]['car_number']}" if best[0]["car_number"] else best[0]["vehicle_id"]
    return f"best {lap_time(best[0]['lap_time_s'])} by {by}"


def _moment(moment: object) -> str:
    return "?" if moment is None else f"{moment:%H:%M:%S.%f}"[:-3]


def _said(line: Callable[[], str]) -> str:
    try:
        return line()
    except ApexError as error:
        return f"cannot be read: {_shortened(error.problem)}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _shortened(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _NOTE_CHARACTERS else f"{plain[: _NOTE_CHARACTERS - 1]}…"
