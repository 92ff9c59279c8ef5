"""A minimal second source for the tests: pit stops, with one kind of CSV file and one table."""

import csv
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import PurePosixPath

from apex_pipeline.sources.base import DerivedTable, FileIdentity, FileOpener, FileStatus, FoundFile, Source
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables.model import Column, Table
from apex_pipeline.tables.session_key import SessionKey

PIT_STOPS = Table(
    name="pit_stops",
    folder="tables",
    description="One row per pit stop.",
    key=("car_number", "lap_number"),
    columns=(
        Column("car_number", "category", "Car.", required=True),
        Column("lap_number", "integer", "Lap on which the car stopped.", required=True, minimum=1),
        Column("stop_s", "float", "Time in the pits.", "seconds", minimum=0),
    ),
)


class PitStops(Source):
    """Recognises files named ``{track}/{session}/pit_stops.csv``."""

    name = "pit_stops"
    derivation_version = "1"
    required_tables = (PIT_STOPS,)

    def identify(self, files: Sequence[FoundFile], rules: None) -> list[FileIdentity]:
        paths = [(file, PurePosixPath(file.path)) for file in files if file.path.endswith("/pit_stops.csv")]
        return [self._identity(file, *path.parts[-3:-1]) for file, path in paths]

    def _identity(self, file: FoundFile, track: str, session: str) -> FileIdentity:
        names = (track, track.title(), session, None, None, None)
        return FileIdentity(
            file.path, file.size, "pit_stops", *names, "name", (), 1.0, FileStatus.READY, None, self.name
        )

    def derive(
        self,
        key: SessionKey,
        files: Sequence[FileIdentity],
        open_file: FileOpener,
        workspace: Workspace,
        rules: None,
    ) -> Iterator[DerivedTable]:
        rows: list[dict[str, object]] = []
        for file in files:
            with open_file(file.path) as stream, TextIOWrapper(stream, encoding="utf-8") as text:
                for row in csv.DictReader(text):
                    lap, stop_s = int(row["lap"]), float(row["stop_s"])
                    rows.append({"car_number": row["car"], "lap_number": lap, "stop_s": stop_s})
        yield DerivedTable(PIT_STOPS, PIT_STOPS.from_rows(rows))
