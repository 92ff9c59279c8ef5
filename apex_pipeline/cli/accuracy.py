"""Implements ``apex accuracy``; see ops/accuracy.py for how laps are compared with official timing."""

import pyarrow as pa

from apex_pipeline.catalog.reader import open_catalog
from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.options import Lake, store_at
from apex_pipeline.cli.progress import count_progress
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.ops.accuracy import measure_session
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.accuracy import AccuracyReport, pool_reports
from apex_pipeline.sources.limits import Limits
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.temp_dirs import process_temp_dir
from apex_pipeline.tables.model import Row

_POOLED, _STEADY = "all", "all without field jumps"
_COLUMNS = ("session", "official", "matched", "within_100ms_pct", "invented")
_SHARES = ("within_50ms", "within_100ms", "within_500ms")
_COUNTS = ("official", "of_known_cars", "listed", "comparable", "matched")
_BEST = ("best_official_s", "best_hidden_s", "best_listed_s")
_SCHEMA = pa.schema(
    [
        ("session", pa.string()),
        *((name, pa.int64()) for name in _COUNTS),
        *((f"{name}_pct", pa.float64()) for name in _SHARES),
        *((name, pa.int64()) for name in ("off_by_1s", "jumping", "invented")),
        *((name, pa.float64()) for name in _BEST),
    ]
)


@lists
def accuracy_command(lake: Lake = None) -> Listing:
    """Derive every session again without official timing, and compare the laps with it."""
    return accuracy_listing(lake)


def accuracy_listing(lake: str | None) -> Listing:
    """Return what the command lists; ``apex verify --truth`` is its former name."""
    by_session = _measure(lake)
    reports = _with_totals(by_session)
    is_right = all(report.is_right for report in by_session.values())
    invented = tuple(f"invented: {lap}" for report in by_session.values() for lap in report.invented)
    return Listing(
        pa.Table.from_pylist([_row(name, report) for name, report in reports.items()], _SCHEMA),
        "Laps derived without official timing, compared with it",
        _COLUMNS,
        document=reports,
        notes=invented,
        empty="No session has official laps for comparison.",
        exit_code=ExitCode.OK if is_right else ExitCode.SOME_FAILED,
    )


def _measure(lake: str | None) -> dict[str, AccuracyReport]:
    settings, store, snapshot = load_settings(), store_at(lake), open_catalog(lake).snapshot
    scratch = process_temp_dir(settings.state_dir / "scratch")
    workspace = Workspace(settings.memory_limit, scratch, limits=Limits.from_settings(settings))
    found: dict[str, AccuracyReport | None] = {}
    with count_progress("derive", len(snapshot.keys), "sessions") as advance:
        for record in snapshot.sessions:
            found[str(record.key)] = measure_session(store, snapshot, record, settings, workspace)
            advance(1)
    return {session: report for session, report in found.items() if report is not None}


def _with_totals(reports: dict[str, AccuracyReport]) -> dict[str, AccuracyReport]:
    """Return the reports and two totals: of all sessions, and of the sessions without jumps of the official clock."""
    steady = [report for report in reports.values() if not report.jumping]
    totals = {_POOLED: pool_reports(list(reports.values()))} if len(reports) > 1 else {}
    if 0 < len(steady) < len(reports):
        totals[_STEADY] = pool_reports(steady)
    return {**reports, **totals}


def _row(name: str, report: AccuracyReport) -> Row:
    counts = {column: getattr(report, column) for column in (*_COUNTS, "off_by_1s", "jumping", *_BEST)}
    shares = {
        f"{column}_pct": round(100 * getattr(report, column) / report.matched, 1) if report.matched else None
        for column in _SHARES
    }
    return {"session": name, **counts, **shares, "invented": len(report.invented)}
