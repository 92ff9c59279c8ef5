"""Prints the result of `apex sync`: the sessions it worked on, what was set aside, what failed; see pipeline.py.

The cost depends on what changed, not on the size of the lake: tables are read of the sessions that this sync worked on,
and the rest is counted from the snapshot and the roll-ups.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from apex_pipeline import arrow_compute as pc
from apex_pipeline.amounts import lap_time
from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.cli.emit import TextTable, print_line
from apex_pipeline.cli.format import count
from apex_pipeline.errors import ApexError, ObjectMissingError
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.rollups import read_roll_up
from apex_pipeline.orchestration.sync import SyncOutcome
from apex_pipeline.settings import Settings
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.sources.rejects import UNREADABLE_FILE
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.tables import FILES, LAPS, SESSIONS, TELEMETRY
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey, parse_session_key

# How the reason of an ignored archive starts; see discovery/path_hints.py of the source.
_ARCHIVE = "archive"

# Maximum entries shown per list; the rest are only counted. `apex files` and `apex rejects` list all.
_SHOWN = 12
# Maximum sessions shown.
_SHOWN_SESSIONS = 60

_SESSION_COLUMNS = ("session", "best valid lap", "missing")
_SESSION_COUNTS = ("cars", "laps", "valid", "telemetry", "rejected")


def print_summary(outcome: SyncOutcome, settings: Settings) -> None:
    """Print the outcome of a sync for people."""
    counts = ", ".join(f"{number} {status}" for status, number in sorted(outcome.statuses.items()))
    print_line(f"Source  {outcome.source}: {sum(outcome.statuses.values())} files ({counts})")
    print_line(f"Lake    {outcome.lake}")
    print_line(f"Done    {_done(outcome)}")
    store = open_store(settings, for_writing=False)
    try:
        catalog = Catalog(store)
    except ObjectMissingError:
        catalog = None
    if catalog is not None:
        _print_sessions(catalog, _worked_on(outcome), _missing_kinds(store))
    _print_set_aside(store)
    if catalog is not None:
        _print_totals(catalog)
    _print_list("Notes", outcome.notes, len(outcome.notes))
    _print_failures(outcome)
    lake = "" if settings.use_s3_data or settings.lake_dir == Path("lake") else f"APEX_LAKE_DIR={settings.lake_dir} "
    print_line(
        f"Next    {lake}apex laps TRACK SESSION · {lake}apex files · in Dagster's UI: {lake}make ui (or apex ui)"
    )


def _done(outcome: SyncOutcome) -> str:
    if outcome.is_unchanged:
        return "nothing changed, nothing was done"
    copied = f"{outcome.copied} files copied ({outcome.copied_bytes / 1e6:,.1f} MB)"
    replaced = f", {len(outcome.replaced)} of them replaced different content" if outcome.replaced else ""
    return f"{copied}{replaced}, {len(outcome.derived)} sessions derived, snapshot {outcome.snapshot or 'unchanged'}"


def _worked_on(outcome: SyncOutcome) -> list[SessionKey]:
    """Return the sessions that failed, and those that were published."""
    failed = {parse_session_key(failure.session) for failure in outcome.failures if failure.session}
    return [*sorted(failed), *sorted(set(outcome.derived) - failed)]


def _missing_kinds(store: ObjectStore) -> dict[SessionKey, str]:
    """Return the kinds of raw file that each session lacks."""
    roll_up = read_roll_up(store, SESSIONS)
    rows: list[Row] = [] if roll_up is None else roll_up.select(["track", "session", "missing_kinds"]).to_pylist()
    return {SessionKey(row["track"], row["session"]): ", ".join(row["missing_kinds"]) for row in rows}


def _print_sessions(catalog: Catalog, keys: list[SessionKey], missing: dict[SessionKey, str]) -> None:
    """Print what is published of these sessions."""
    shown = sorted(keys[:_SHOWN_SESSIONS])
    if not shown:
        return
    table = TextTable(_SESSION_COLUMNS, _SESSION_COUNTS, title=f"Sessions of this sync ({len(keys)})")
    for key in shown:
        best, *counts = _session_cells(catalog, key)
        table.add(str(key), best, missing.get(key, ""), *counts)
    table.show()
    if len(keys) > len(shown):
        print_line(f"… and {len(keys) - len(shown)} more; `apex sessions` lists all.")
    published = [record for key in shown if (record := _published(catalog, key))]
    readings = _reading_table(catalog, published)
    if readings.rows:
        readings.show()
    notes = [f"{record.key}: {note}" for record in published if (note := _note(catalog, record))]
    _print_list("What to know", notes, len(notes))
    _print_rejects(catalog, published)


def _published(catalog: Catalog, key: SessionKey) -> PublishedSession | None:
    try:
        return catalog.snapshot.session(key)
    except ApexError:  # damaged after the sync, which mends it at its start
        return None


def _session_cells(catalog: Catalog, key: SessionKey) -> list[str]:
    """Return best lap, cars, laps, valid laps, telemetry rows and rejected rows of a session."""
    record = _published(catalog, key)
    if record is None:
        return ["not published", "", "", "", "", ""]
    rejects = str(catalog.rejected_rows(*key))
    if not {LAPS.name, TELEMETRY.name} <= record.tables.keys():
        return ["", "", "", "", "", rejects]
    samples = f"{catalog.rows('telemetry', *key):,}"
    try:
        laps = catalog.table_arrow("laps", *key)
    except ApexError:
        return ["cannot be read", "", "", "", samples, rejects]
    cars = pc.count_distinct(laps["vehicle_id"].cast(pa.string())).as_py()
    valid = pc.sum(laps["is_valid"]).as_py() or 0
    return [best_lap(laps), *map(str, (cars, laps.num_rows, valid)), samples, rejects]


def _reading_table(catalog: Catalog, sessions: Iterable[PublishedSession]) -> TextTable:
    """Return a table that shows that no reading was lost: the first count is the sum of the other three."""
    names = ("readings in", "= cells out", "+ exact duplicates", "+ rejected")
    table = TextTable(["session"], names, title="Telemetry")
    for record in (record for record in sessions if TELEMETRY.name in record.tables):
        try:
            counts = catalog.telemetry_counts(record.track, record.session)
        except ApexError:
            continue
        table.add(str(record.key), *(f"{counts.get(name.lstrip('=+ ').replace(' ', '_'), 0):,}" for name in names))
    return table


def _note(catalog: Catalog, record: PublishedSession) -> str:
    try:
        return catalog.session_note(record.track, record.session)
    except ApexError:
        return ""


def _print_rejects(catalog: Catalog, sessions: list[PublishedSession]) -> None:
    rejects = list(_rejects(catalog, sessions))
    unreadable = [f"{row['source_file']} {row['detail']}" for row in rejects if row["reason"] == UNREADABLE_FILE]
    _print_list("Files that could not be read; their sessions are published without them", unreadable, len(unreadable))
    rows = [_reject_line(row) for row in rejects if row["reason"] != UNREADABLE_FILE]
    _print_list("Rows rejected", rows, len(rows))


def _rejects(catalog: Catalog, sessions: Iterable[PublishedSession]) -> Iterator[Row]:
    """Yield the rejected rows of these sessions, which are few: only some of a sync's sessions are shown."""
    for record in sessions:
        try:
            yield from catalog.rejects_arrow(*record.key).to_pylist()
        except ApexError:
            continue


def _reject_line(row: Row) -> str:
    line = "" if row["source_row"] is None else f" line {row['source_row']}"
    return f"{row['source_file']}{line}: {row['reason']} ({row['detail']})"


def _print_set_aside(store: ObjectStore) -> None:
    files = read_roll_up(store, FILES)
    if files is None:
        return
    rows = zip(*(files[name].to_pylist() for name in ("path", "status", "reason")), strict=True)
    # Not with Arrow's functions: for a list of values to compare with, pyarrow imports pandas, which takes 0.4 s.
    not_ready = [(path, status, reason or "") for path, status, reason in rows if status != FileStatus.READY]
    aside = [f"{path}: {why}" for path, status, why in not_ready if status != FileStatus.IGNORED]
    _print_list("Files set aside", aside, len(aside))
    archives = [path for path, _, why in not_ready if why.startswith(_ARCHIVE)]
    _print_list("Archives that are not unpacked; unpack them here to use their files", archives, len(archives))


def _print_totals(catalog: Catalog) -> None:
    entries = catalog.snapshot.entries
    tracks = len({key.track for key in entries})
    rows = sum(entry.rows for entry in entries.values())
    sessions = f"{count(len(entries), 'session')} of {count(tracks, 'track')}, {rows:,} rows in their tables"
    print_line(f"Total   {sessions}, snapshot {catalog.snapshot.id}")


def best_lap(laps: pa.Table) -> str:
    """Return the fastest valid lap as ``1:37.428 car 13 lap 5``, or with the vehicle_id if the number is unknown."""
    columns = ["lap_time_s", "car_number", "vehicle_id", "lap_number"]
    valid = laps.filter(pc.and_kleene(laps["is_valid"], pc.is_valid(laps["lap_time_s"]))).select(columns).to_pylist()
    if not valid:
        return "none"
    best = min(valid, key=lambda lap: lap["lap_time_s"])
    car = f"car {best['car_number']}" if best["car_number"] else best["vehicle_id"]
    return f"{lap_time(best['lap_time_s'])} {car} lap {best['lap_number']}"


def _print_list(title: str, lines: Iterable[str], total: int) -> None:
    if not total:
        return
    print_line(f"{title} ({total})", style="bold")
    for line in islice(lines, _SHOWN):
        print_line(f"  {line}")
    if total > _SHOWN:
        print_line(f"  … and {total - _SHOWN} more")


def _print_failures(outcome: SyncOutcome) -> None:
    lines = [f"{path}: {reason}" for path, reason in outcome.refused]
    lines += [f"{failure.session or 'all'} ({failure.stage}): {failure.problem}" for failure in outcome.failures]
    _print_list("Failed; all other work is done, and previously published tables are kept", lines, len(lines))
