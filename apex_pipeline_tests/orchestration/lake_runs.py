"""A small lake with its source folder and Dagster instance, whose steps are materialized one by one.

Runs are executed in this process on an ephemeral instance; a run of one step takes about 50 ms. The sessions are as
small as they can be while all their tables have rows: two cars drive a few laps, with official timing and telemetry.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.lake.tables import require_session, require_snapshot, session_table
from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.orchestration.job_names import CATALOG_JOB, FIND_JOB, SESSION_JOB
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources import all_tables
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.tables.session_key import parse_session_key
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import csv_bytes, reading

_START = datetime(2025, 9, 6, 18, 40, tzinfo=UTC)
_CARS = ("GR86-002-2", "GR86-003-3")
_LAP_S = 97.5
_LAP_HEADER = "expire_at,lap,meta_event,meta_session,meta_source,meta_time,outing,timestamp,vehicle_id"
_SECTIONS_HEADER = "NUMBER; LAP_NUMBER; LAP_TIME; CROSSING_FINISH_LINE_IN_PIT; HOUR;S1_LARGE;S1_SECONDS;FLAG_AT_FL"

# The steps of a session in the order of the data flow.
STEPS = (
    ("lake/files",),
    ("lake/session",),
    ("tables/official_laps", "tables/official_points", "tables/results", "tables/weather", "tables/official_rejects"),
    ("tables/laps", "tables/cars", "tables/lap_rejects"),
    ("tables/telemetry", "tables/telemetry_cars", "tables/telemetry_holes", "tables/telemetry_rejects"),
    ("tables/quality",),
    ("lake/published",),
)
ROLL_UPS = ("catalog/files", "catalog/tracks", "catalog/sessions")


def session_files(key: str, laps: int) -> dict[str, str]:
    """Return the text of a session's files by name; no two sessions have equal files."""
    session = parse_session_key(key).session
    start = _START + timedelta(minutes=int(hashlib.sha256(key.encode()).hexdigest()[:3], 16))
    readings = csv_bytes(reading(10 * second, meta_session=session, value=f"{len(key)}") for second in range(laps))
    return {
        f"{session}_lap_start.csv": _lap_file(session, start, laps),
        f"{session}_telemetry.csv": readings.decode() + _last_reading(key, session),
        f"23_AnalysisEnduranceWithSections_{session}.CSV": _sections(start, laps),
    }


def _last_reading(key: str, session: str) -> str:
    """Return a row that only this session has."""
    value = int(hashlib.sha256(key.encode()).hexdigest()[:4], 16) / 1000
    return csv_bytes([reading(1000, meta_session=session, value=f"{value}")]).decode().splitlines()[1] + "\n"


def _lap_file(session: str, start: datetime, laps: int) -> str:
    lines = [_LAP_HEADER]
    for car in _CARS:
        for lap in range(1, laps + 2):
            stamp = f"{_crossing(start, car, lap - 1):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
            lines.append(f",{lap},I_R06_2025-09-07,{session},k,{stamp},0,{stamp},{car}")
    return "\n".join(lines) + "\n"


def _sections(start: datetime, laps: int) -> str:
    lines = [_SECTIONS_HEADER]
    for car in _CARS:
        for lap in range(1, laps + 1):
            time_of_day = f"{_crossing(start, car, lap):%H:%M:%S.%f}"[:-3]
            lines.append(f"{car[-1]};{lap};1:37.500;;{time_of_day};1:02.001;62.001;GF")
    return "\n".join(lines) + "\n"


def _crossing(start: datetime, car: str, laps: int) -> datetime:
    """Return when a car crosses the line after this number of laps."""
    return start + timedelta(seconds=_LAP_S * laps + _CARS.index(car))


@dataclass(frozen=True)
class Attempt:
    """The outcome of a run.

    Attributes:
        result: Dagster's result.
    """

    result: dg.ExecuteInProcessResult

    def __bool__(self) -> bool:
        return self.result.success

    @property
    def made(self) -> dict[str, dict[str, Any]]:
        """Metadata of each materialized asset, by its key."""
        return {
            event.asset_key.to_user_string(): {
                key: value.value for key, value in event.materialization.metadata.items()
            }
            for event in self.result.get_asset_materialization_events()
            if event.asset_key is not None
        }

    @property
    def versions(self) -> dict[str, str]:
        """Data version of each materialized asset, by its key."""
        return {
            event.asset_key.to_user_string(): (event.materialization.tags or {})["dagster/data_version"]
            for event in self.result.get_asset_materialization_events()
            if event.asset_key is not None
        }

    @property
    def checks(self) -> dict[str, dg.AssetCheckEvaluation]:
        """Evaluation of each check, by ``table.check``."""
        return {
            f"{item.asset_key.path[-1]}.{item.check_name}": item for item in self.result.get_asset_check_evaluations()
        }

    @property
    def failures(self) -> dict[str, dict[str, Any]]:
        """Metadata of the failure of each failed step, by its key; of anything but a typed failure, the error."""
        found: dict[str, dict[str, Any]] = {}
        for event in self.result.all_events:
            if event.is_step_failure and event.step_key:
                typed = event.step_failure_data.user_failure_data
                facts = {key: value.value for key, value in typed.metadata.items()} if typed else {}
                text = typed.description if typed else str(event.step_failure_data.error)
                found[event.step_key] = {"text": text, **facts}
        return found

    @property
    def failure(self) -> str:
        """Description of the only failure."""
        ((_, facts),) = self.failures.items()
        return str(facts["text"])


class LakeRuns:
    """A lake and a source folder, with a Dagster instance on which steps are materialized.

    Args:
        folder: Where both are.
        settings: Overrides of the settings.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.source = folder / "source"
        self.settings: Settings = load_settings(
            **{"source_dir": self.source, "lake_dir": folder / "lake", "state_dir": folder / "state", **settings}
        )
        self.instance = dg.DagsterInstance.ephemeral()
        self.definitions = build_definitions(self.settings)

    def home(self) -> None:
        """Start with a fresh Dagster home, and with the sources that are registered now."""
        self.close()
        self.instance = dg.DagsterInstance.ephemeral()
        self.definitions = build_definitions(self.settings)

    def close(self) -> None:
        """Remove the temporary files of the instance."""
        self.instance.dispose()

    @property
    def store(self) -> ObjectStore:
        return open_store(self.settings, for_writing=True)

    def write(self, folder: str, files: Mapping[str, str]) -> None:
        """Write files into a folder of the source folder."""
        target = self.source / folder
        target.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (target / name).write_text(text, encoding="utf-8")

    def race(self, key: str, laps: int = 4) -> None:
        """Write the files of a session, in which each of two cars drives this number of laps."""
        self.write(parse_session_key(key).track, session_files(key, laps))

    def run(self, job: str, key: str | None = None, assets: Iterable[str] | None = None) -> Attempt:
        """Execute a job, or some of its assets; as in a run launched through the API, any partition is accepted."""
        selected = [dg.AssetKey(asset.split("/")) for asset in assets] if assets is not None else None
        return Attempt(
            self.definitions.resolve_job_def(job).execute_in_process(
                instance=self.instance,
                tags={"dagster/partition": key} if key else None,
                asset_selection=selected,
                raise_on_error=False,
            )
        )

    def run_session(self, key: str) -> Attempt:
        """Execute all steps of a session."""
        self.instance.add_dynamic_partitions("sessions", [key])
        return self.run(SESSION_JOB, key)

    def materialize(self, key: str, *assets: str) -> Attempt:
        """Materialize assets of a session, as the UI does."""
        self.instance.add_dynamic_partitions("sessions", [key])
        return self.run(SESSION_JOB, key, assets)

    def sync(self, *keys: str) -> None:
        """Find and make everything; ``keys`` restricts it to some sessions."""
        assert self.run(FIND_JOB)
        for key in keys or self.partitions:
            attempt = self.run(SESSION_JOB, key)
            assert attempt, attempt.failures
        assert self.run(CATALOG_JOB)

    @property
    def partitions(self) -> list[str]:
        return list(self.instance.get_dynamic_partitions("sessions"))

    @property
    def published(self) -> list[str]:
        snapshot = read_current(self.store)
        return [str(key) for key in snapshot.keys] if snapshot else []

    def session(self, key: str) -> PublishedSession:
        return require_session(require_snapshot(self.store), parse_session_key(key))

    def rows(self, key: str) -> dict[str, int]:
        """Return the number of rows of each published table of a session."""
        return {name: table.rows for name, table in self.session(key).tables.items()}

    def column(self, key: str, table: str, column: str) -> list[Any]:
        """Return a column of a published table."""
        return session_table(self.store, self.session(key), all_tables()[table])[column].to_pylist()

    def objects(self) -> set[str]:
        """Return the keys of everything in the lake, without leases."""
        if not Path(self.store.uri).exists():
            return set()
        return {item.key for item in self.store.list() if not item.key.startswith(".apex/")}
