"""Checks that every session loads: one small read of each kind, as a consumer would do it, with pass or fail.

See lake/integrity.py for the check that the objects themselves are intact.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa

from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.errors import ApexError, StoreCorruptionError
from apex_pipeline.lake.integrity import ObjectFinding
from apex_pipeline.sources import kinds_feeding
from apex_pipeline.tables.session_key import SessionKey

_OFFICIAL_TABLES = ("official_laps", "results", "weather")


@dataclass(frozen=True)
class LoadResult:
    """Result of one read of a session.

    Attributes:
        is_good: Whether it loads; ``None`` if the session has no raw files for it, so nothing is expected.
        message: Counts of what was loaded, or the problem.
    """

    is_good: bool | None
    message: str


@dataclass(frozen=True)
class LoadCheck:
    """Results of the reads of a session.

    Attributes:
        session: ``track/session``.
        laps: Its table of laps.
        telemetry: One row of its telemetry.
        official_timing: Official laps, results and weather.
        raw_files: Its raw files, from the check of the objects.
    """

    session: str
    laps: LoadResult
    telemetry: LoadResult
    official_timing: LoadResult
    raw_files: LoadResult

    @property
    def results(self) -> dict[str, LoadResult]:
        """The results by name."""
        return {
            "laps": self.laps,
            "telemetry": self.telemetry,
            "official_timing": self.official_timing,
            "raw_files": self.raw_files,
        }

    @property
    def is_good(self) -> bool:
        """Whether no read of the session failed."""
        return all(result.is_good is not False for result in self.results.values())


def load_sessions(catalog: Catalog, findings: Iterable[ObjectFinding]) -> list[LoadCheck]:
    """Load a small part of every session in the catalog.

    Args:
        catalog: The lake, opened.
        findings: Results of the check of its objects.

    Raises:
        ApexError: The list of sessions itself cannot be read.
    """
    raw_files: defaultdict[str | None, list[ObjectFinding]] = defaultdict(list)
    for finding in findings:
        if finding.kind == "raw file":
            raw_files[finding.session].append(finding)
    rows = catalog.list_arrow("sessions").to_pylist()
    tables = {key: _tables_of(catalog, key) for key in (SessionKey(row["track"], row["session"]) for row in rows)}
    # A session whose record is damaged is expected to have what others have, so that reading it fails.
    of_others = {name for names in tables.values() for name in names or ()}
    return [
        _load(catalog, row, of_others if names is None else names, raw_files[str(key)])
        for row, (key, names) in zip(rows, tables.items(), strict=True)
    ]


def _tables_of(catalog: Catalog, key: SessionKey) -> set[str] | None:
    """Return the names of a session's published tables; ``None`` if it is not published or its record is damaged."""
    try:
        session = catalog.snapshot.session(key)
    except StoreCorruptionError:
        return None
    return set(session.tables) if session else None


def _load(catalog: Catalog, row: dict[Any, Any], tables_present: set[str], raw_files: list[ObjectFinding]) -> LoadCheck:
    track, session, kinds = str(row["track"]), str(row["session"]), set(row["kinds"])

    # A lake may lack some tables: bundles omit some, and other sources publish different ones.
    def result(load: Callable[[Catalog, str, str], str], *tables: str, is_expected: bool) -> LoadResult:
        if not tables_present.issuperset(tables):
            return LoadResult(is_good=None, message="not in this lake")
        return _result(lambda: load(catalog, track, session), is_expected=is_expected)

    return LoadCheck(
        session=f"{track}/{session}",
        laps=result(_laps, "laps", is_expected=bool(kinds & kinds_feeding("laps"))),
        telemetry=result(
            _telemetry, "telemetry", "telemetry_cars", is_expected=bool(kinds & kinds_feeding("telemetry"))
        ),
        official_timing=result(
            _official, *_OFFICIAL_TABLES, is_expected=bool(kinds & kinds_feeding(*_OFFICIAL_TABLES))
        ),
        raw_files=_raw_files(raw_files),
    )


def _result(load: Callable[[], str], *, is_expected: bool) -> LoadResult:
    try:
        found = load()
    except (ApexError, pa.ArrowException, OSError) as error:
        return LoadResult(is_good=False, message=error.problem if isinstance(error, ApexError) else str(error))
    if found:
        return LoadResult(is_good=True, message=found)
    return LoadResult(is_good=False, message="no rows") if is_expected else LoadResult(is_good=None, message="none")


def _laps(catalog: Catalog, track: str, session: str) -> str:
    laps = catalog.table_arrow("laps", track, session).num_rows
    return f"{laps:,} laps" if laps else ""


def _telemetry(catalog: Catalog, track: str, session: str) -> str:
    """Load the first sample of one car, all channels; the other rows are only counted."""
    rows = catalog.rows("telemetry", track, session)
    if not rows:
        return ""
    car = catalog.table_arrow("telemetry_cars", track, session).slice(0, 1).to_pylist()[0]
    first = car["first_sample_utc"]
    sample = catalog.telemetry_arrow(
        track,
        session,
        vehicle_id=str(car["vehicle_id"]),
        start_utc=first,
        end_utc=first + timedelta(milliseconds=1),
    )
    return f"{rows:,} rows" if sample.num_rows else ""


def _official(catalog: Catalog, track: str, session: str) -> str:
    counts = {name: catalog.table_arrow(name, track, session).num_rows for name in _OFFICIAL_TABLES}
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def _raw_files(findings: list[ObjectFinding]) -> LoadResult:
    wrong = sum(finding.problem is not None for finding in findings)
    if not findings:
        return LoadResult(is_good=None, message="none")
    return LoadResult(
        is_good=not wrong, message=f"{wrong} of {len(findings)} wrong" if wrong else f"{len(findings)} files"
    )
