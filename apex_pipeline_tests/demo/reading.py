"""Reads a generated weekend with the standard library only, to share no code with the package."""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apex_pipeline.demo import FaultKind, GroundTruth, InjectedFault, LapTruth

each_session = pytest.mark.parametrize(
    ("track", "session"),
    [
        ("harbor_street_circuit", "R1"),
        ("harbor_street_circuit", "R2"),
        ("mesa_verde_raceway", "R1"),
        ("mesa_verde_raceway", "R2"),
    ],
)


def instant(text: str) -> datetime:
    """Parse a timestamp of a car."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Weekend:
    """A generated weekend: its folder and its ground truth."""

    folder: Path
    truth: GroundTruth

    def rows(self, path: str) -> list[dict[str, str]]:
        """Return a file's rows as parsed by the standard library, with stripped column names."""
        delimiter = ";" if path.endswith(".CSV") else ","
        with (self.folder / path).open(newline="", encoding="ascii") as file:
            reader = csv.DictReader(file, delimiter=delimiter, restval="")
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            return list(reader)

    def only(self, kind: FaultKind) -> InjectedFault:
        """Return the only injected fault of a kind."""
        (fault,) = self.truth.faults_of(kind)
        return fault

    def faults_in(self, track: str, session: str, *kinds: FaultKind) -> list[InjectedFault]:
        """Return the injected faults of these kinds in one session."""
        return [
            fault
            for fault in self.truth.faults
            if fault.kind in kinds and (fault.track, fault.session) == (track, session)
        ]

    def lap(self, fault: InjectedFault, lap_number: int | None = None) -> LapTruth:
        """Return the lap of a fault, or another lap of its car."""
        wanted = (fault.vehicle_id, fault.lap_number if lap_number is None else lap_number)
        laps = self.truth.session(fault.track, fault.session).laps
        return next(lap for lap in laps if (lap.vehicle_id, lap.lap_number) == wanted)

    def lap_file(self, track: str, session: str, kind: str) -> str:
        """Return the path of a session's ``lap_start``, ``lap_end`` or ``lap_time`` file."""
        if track == "harbor_street_circuit":
            return f"{track}/{session}_harbor_{kind}.csv"
        # As at COTA, lap_end_time is the timestamp of a lap's end and lap_time the duration of a lap.
        name = kind if kind == "lap_time" else f"{kind}_time"
        return f"Mesa Verde Raceway/Race {session[1]}/mesa_{name}_{session}.csv"

    def triggers(self, fault: InjectedFault, kind: str = "lap_end") -> list[tuple[datetime, dict[str, str]]]:
        """Return the rows of the fault's car in a lap file of its session with their timestamps, oldest first."""
        rows = self.rows(self.lap_file(fault.track, fault.session, kind))
        own = [(instant(row["timestamp"]), row) for row in rows if row["vehicle_id"] == fault.vehicle_id]
        return sorted(own, key=lambda trigger: trigger[0])

    def sibling(self, fault: InjectedFault, old: str, new: str) -> str:
        """Return the path of another file of the fault's session."""
        assert old in fault.file
        return fault.file.replace(old, new)
