"""Contains the GR Cup source: lap triggers and telemetry from the cars, and official timing from the series."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import pyarrow as pa

from apex_pipeline.settings import Settings
from apex_pipeline.sources.accuracy import AccuracyReport
from apex_pipeline.sources.base import DerivedTable, DownsampleStats, FileIdentity, FileOpener, FoundFile, Source, Write
from apex_pipeline.sources.gr_cup.discovery.identify import identify_tree, scope_of
from apex_pipeline.sources.gr_cup.discovery.rules import NamingRules, load_rules
from apex_pipeline.sources.gr_cup.kinds import EXPECTED_KINDS, LAP_KINDS, OFFICIAL_KINDS, SOURCE_NAME, FileKind
from apex_pipeline.sources.gr_cup.raw_access import GrCupFileAccess
from apex_pipeline.sources.lineage import Evidence, RawRows
from apex_pipeline.sources.rejects import rejects_table
from apex_pipeline.sources.unreadable import warnings_of
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables import (
    CARS,
    LAP_REJECTS,
    LAPS,
    OFFICIAL_LAPS,
    OFFICIAL_POINTS,
    OFFICIAL_REJECTS,
    QUALITY,
    RESULTS,
    TELEMETRY,
    TELEMETRY_CARS,
    TELEMETRY_HOLES,
    TELEMETRY_REJECTS,
    WEATHER,
)
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

_RULE_FILES = ("tracks.yaml", "patterns.yaml")


class GrCup(Source):
    """Race weekends of the GR Cup."""

    name = SOURCE_NAME
    derivation_version = "6"
    required_tables = (
        LAPS,
        CARS,
        TELEMETRY,
        TELEMETRY_CARS,
        OFFICIAL_LAPS,
        QUALITY,
        LAP_REJECTS,
        TELEMETRY_REJECTS,
        OFFICIAL_REJECTS,
    )
    optional_tables = (OFFICIAL_POINTS, RESULTS, WEATHER, TELEMETRY_HOLES)
    expected_kinds = EXPECTED_KINDS
    exclusive_kinds = OFFICIAL_KINDS
    table_inputs = {  # noqa: RUF012  -- read only, as the protocol declares it
        LAPS.name: LAP_KINDS,
        TELEMETRY.name: (FileKind.TELEMETRY,),
        OFFICIAL_LAPS.name: (FileKind.SECTIONS,),
        RESULTS.name: (FileKind.RESULTS,),
        WEATHER.name: (FileKind.WEATHER,),
    }
    raw_access = GrCupFileAccess()

    def load_rules(self, settings: Settings) -> NamingRules:
        """Return tracks, aliases and file-name patterns, including those from ``APEX_TRACKS_FILE``."""
        return load_rules(settings.tracks_file)

    def rules_version(self, settings: Settings) -> str:
        """Return a hash of the rules and the derivation version."""
        package = resources.files(f"{__package__}.discovery")
        texts = [package.joinpath(name).read_bytes() for name in _RULE_FILES]
        if settings.tracks_file is not None and settings.tracks_file.is_file():
            texts.append(settings.tracks_file.read_bytes())
        return hashlib.sha256(b"\0".join([self.derivation_version.encode(), *texts])).hexdigest()[:16]

    def scope_of(self, folder: str, rules: NamingRules) -> str:
        """Return the outermost folder that names a track, whose files show each other's track; else all files."""
        return scope_of(folder, rules)

    def identify(self, files: Sequence[FoundFile], rules: NamingRules) -> list[FileIdentity]:
        """Return the identity of every file, including those that are not race data."""
        return identify_tree(files, rules)

    def derive(
        self,
        key: SessionKey,
        files: Sequence[FileIdentity],
        open_file: FileOpener,
        workspace: Workspace,
        rules: NamingRules,
    ) -> Iterator[DerivedTable]:
        """Yield official timing, laps, telemetry and quality, in this order: each needs the previous ones."""
        # Imported here and below because numba takes half a second to import, and identifying files needs neither.
        from apex_pipeline.sources.gr_cup import derive  # noqa: PLC0415
        from apex_pipeline.sources.gr_cup.quality import score_session  # noqa: PLC0415
        from apex_pipeline.sources.gr_cup.telemetry.car_stats import (  # noqa: PLC0415
            holes_table,
            telemetry_cars_table,
        )

        official = derive.derive_official_tables(key, files, open_file, workspace)
        yield DerivedTable(
            OFFICIAL_LAPS, official.official_laps, {}, warnings_of(official.unreadable), official.unreadable
        )
        yield DerivedTable(OFFICIAL_POINTS, official.official_points)
        yield DerivedTable(RESULTS, official.results)
        yield DerivedTable(WEATHER, official.weather)
        yield DerivedTable(OFFICIAL_REJECTS, official.rejects)
        zone = rules.zone_of(key.track)
        laps = derive.derive_lap_tables(key, files, open_file, official.official_laps, zone, workspace)
        yield DerivedTable(LAPS, laps.laps, asdict(laps.report), warnings_of(laps.unreadable), laps.unreadable)
        yield DerivedTable(CARS, laps.cars)
        yield DerivedTable(LAP_REJECTS, laps.rejects)
        staged = Path(workspace.scratch, f"telemetry-{uuid4().hex}.parquet")
        report = derive.derive_telemetry(key, files, open_file, laps.laps, staged, workspace)
        yield DerivedTable(TELEMETRY, staged, report.facts(), report.warnings(), report.unreadable)
        telemetry_cars = telemetry_cars_table(key.track, key.session, report)
        yield DerivedTable(TELEMETRY_CARS, telemetry_cars)
        yield DerivedTable(TELEMETRY_HOLES, holes_table(key.track, key.session, report))
        telemetry_rejects = rejects_table(key.track, key.session, report.rejects)
        yield DerivedTable(TELEMETRY_REJECTS, telemetry_rejects)
        tables = (laps.laps, laps.cars, official.official_laps, official.results, telemetry_cars)
        rejects = (official.rejects, laps.rejects, telemetry_rejects)
        yield DerivedTable(QUALITY, score_session(key.track, key.session, *tables, rejects=rejects))

    def work_bytes(self, files: Iterable[FileIdentity]) -> int:
        """Return the size of the telemetry files in bytes; the time for other files is negligible."""
        return sum(file.size for file in files if file.kind == FileKind.TELEMETRY)

    def measure_accuracy(
        self,
        key: SessionKey,
        files: Sequence[FileIdentity],
        official_laps: pa.Table,
        open_file: FileOpener,
        workspace: Workspace,
        rules: NamingRules,
    ) -> AccuracyReport | None:
        """Derive the laps both blind and with official timing, and compare them with official timing."""
        if not official_laps.num_rows or not any(file.kind in LAP_KINDS for file in files):
            return None
        from apex_pipeline.sources.gr_cup.accuracy import measure_accuracy  # noqa: PLC0415
        from apex_pipeline.sources.gr_cup.derive import derive_lap_tables  # noqa: PLC0415

        zone = rules.zone_of(key.track)
        blind = derive_lap_tables(key, files, open_file, None, zone, workspace)
        derived = derive_lap_tables(key, files, open_file, official_laps, zone, workspace)
        return measure_accuracy(blind.laps, derived.laps, derived.cars, official_laps)

    def find_lap_evidence(
        self,
        lap: Row,
        laps: Sequence[Row],
        cars: Sequence[Row],
        official_laps: Sequence[Row],
        files: Sequence[FileIdentity],
        raw: RawRows,
    ) -> list[Evidence]:
        """Return the crossings at both ends of a lap, those in between, and its row of official timing."""
        from apex_pipeline.sources.gr_cup.lap_evidence import find_lap_evidence  # noqa: PLC0415

        return find_lap_evidence(lap, laps, cars, official_laps, files, raw)

    def downsample(
        self, file: FileIdentity, open_file: Callable[[], AbstractContextManager[BinaryIO]], every: int, write: Write
    ) -> DownsampleStats | None:
        """Write every Nth sample of a telemetry file; ``None`` for other files, which have no samples."""
        if file.kind != FileKind.TELEMETRY:
            return None
        from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile  # noqa: PLC0415
        from apex_pipeline.sources.gr_cup.telemetry.downsample import downsample  # noqa: PLC0415

        return downsample(TelemetryFile(file, open_file).open_text, file.path, every, write)
