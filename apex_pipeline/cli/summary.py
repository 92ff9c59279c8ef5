"""Prints the result of `apex sync`: files found, sessions, rejects, failures; see pipeline.py."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import pandas as pd
from rich.table import Table as RichTable

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.cli.emit import print_line
from apex_pipeline.console import console
from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.orchestration.sync import SyncOutcome
from apex_pipeline.settings import Settings
from apex_pipeline.tables import LAPS, TELEMETRY
from apex_pipeline.tables.session_key import SessionKey

# Maximum entries shown per list; the rest are only counted. `apex files` and `apex rejects` list all.
_SHOWN = 12

_SESSION_COLUMNS = (
    *("track", "session", "cars", "laps", "valid", "best valid lap"),
    *("telemetry rows", "rejected rows", "missing"),
)
_COUNTS = frozenset({"cars", "laps", "valid", "telemetry rows", "rejected rows"})


def print_summary(outcome: SyncOutcome, settings: Settings) -> None:
    """Print the outcome of a sync for people."""
    counts = ", ".join(f"{number} {status}" for status, number in sorted(outcome.statuses.items()))
    print_line(f"Source  {outcome.source}: {sum(outcome.statuses.values())} files ({counts})")
    print_line(f"Lake    {outcome.lake}")
    print_line(f"Done    {_done(outcome)}")
    try:
        catalog = open_catalog(settings=settings)
    except ObjectMissingError:
        catalog = None
    if catalog is not None:
        console().print(_session_table(catalog))
        console().print(_reading_table(catalog))
        _print_notes(catalog)
        _print_set_aside(catalog)
    _print_failures(outcome)
    print_line("Next    apex laps TRACK SESSION · apex files · runs and assets in Dagster's UI: make ui (or apex ui)")


def _done(outcome: SyncOutcome) -> str:
    if outcome.is_unchanged:
        return "nothing changed, nothing was done"
    copied = f"{outcome.copied} files copied ({outcome.copied_bytes / 1e6:,.1f} MB)"
    replaced = f", {len(outcome.replaced)} of them replaced different content" if outcome.replaced else ""
    return f"{copied}{replaced}, {len(outcome.derived)} sessions derived, snapshot {outcome.snapshot or 'unchanged'}"


def _session_table(catalog: Catalog) -> RichTable:
    table = RichTable(title="Published sessions", title_justify="left")
    for name in _SESSION_COLUMNS:
        table.add_column(name, justify="right" if name in _COUNTS else "left")
    for row in catalog.sessions().to_dict("records"):
        table.add_row(*_session_cells(catalog, row))
    return table


def _session_cells(catalog: Catalog, row: dict[Any, Any]) -> list[str]:
    track, session = str(row["track"]), str(row["session"])
    missing = ", ".join(row["missing_kinds"])
    record = catalog.snapshot.session(SessionKey(track, session))
    if record is None:
        return [track, session, "", "", "", "not published", "", "", missing]
    rejects = catalog.rejected_rows(track, session)
    if not {LAPS.name, TELEMETRY.name} <= record.tables.keys():
        return [track, session, "", "", "", "", "", str(rejects), missing]
    laps = catalog.laps(track, session)
    samples = catalog.rows("telemetry", track, session)
    counts = (laps["vehicle_id"].nunique(), len(laps), int(laps["is_valid"].sum()))
    return [track, session, *map(str, counts), best_lap(laps), f"{samples:,}", str(rejects), missing]


def _reading_table(catalog: Catalog) -> RichTable:
    """Return a table that shows that no reading was lost: the first count is the sum of the other three."""
    names = ("readings in", "= cells out", "+ exact duplicates", "+ rejected")
    table = RichTable(title="Telemetry", title_justify="left")
    table.add_column("session")
    for name in names:
        table.add_column(name, justify="right")
    for record in (record for record in catalog.snapshot.sessions if TELEMETRY.name in record.tables):
        counts = catalog.telemetry_counts(record.track, record.session)
        table.add_row(str(record.key), *(f"{counts.get(name.lstrip('=+ ').replace(' ', '_'), 0):,}" for name in names))
    return table


def best_lap(laps: pd.DataFrame) -> str:
    """Return the fastest valid lap as ``1:37.428 car 13 lap 5``, or with the vehicle_id if the number is unknown."""
    valid = laps[laps["is_valid"]]
    if valid.empty:
        return "none"
    best = valid.nsmallest(1, "lap_time_s").to_dict("records")[0]
    minutes, seconds = divmod(best["lap_time_s"], 60)
    car = f"car {best['car_number']}" if isinstance(best["car_number"], str) else best["vehicle_id"]
    return f"{minutes:.0f}:{seconds:06.3f} {car} lap {best['lap_number']}"


def _print_notes(catalog: Catalog) -> None:
    """Print the quality note of every session, a few sentences each."""
    by_session = {
        record.key: catalog.session_note(record.track, record.session) for record in catalog.snapshot.sessions
    }
    notes = [f"{key}: {note}" for key, note in by_session.items() if note]
    _print_list("What to know", notes, len(notes))


def _print_set_aside(catalog: Catalog) -> None:
    files = catalog.files()
    aside = files[files["status"].isin(["quarantined", "unresolved"])]
    _print_list("Files set aside", (f"{row.path}: {row.reason}" for row in aside.itertuples()), len(aside))
    rejects = [
        f"{row.source_file} line {row.source_row}: {row.reason} ({row.detail})"
        for record in catalog.snapshot.sessions
        for row in catalog.rejects(record.track, record.session).itertuples()
    ]
    _print_list("Rows rejected", rejects, len(rejects))


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
