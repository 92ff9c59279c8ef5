"""Reading a made weekend with nothing but the standard library, so that the tests share no code with the package."""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apex_pipeline.demo import AnswerSheet, FaultKind
from apex_pipeline.demo.answers import PlantedFault

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
    """Return a car's time stamp."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Weekend:
    """A made weekend: where it lies and what is true about it."""

    folder: Path
    sheet: AnswerSheet

    def rows(self, path: str) -> list[dict[str, str]]:
        """Return a file's rows as the standard library reads them, names stripped."""
        delimiter = ";" if path.endswith(".CSV") else ","
        with (self.folder / path).open(newline="", encoding="ascii") as file:
            reader = csv.DictReader(file, delimiter=delimiter, restval="")
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            return list(reader)

    def only(self, kind: FaultKind) -> PlantedFault:
        """Return the one planted fault of a kind."""
        (fault,) = self.sheet.faults_of(kind)
        return fault

    def beside(self, fault: PlantedFault, old: str, new: str) -> str:
        """Return the path of another file of the fault's session."""
        assert old in fault.file
        return fault.file.replace(old, new)
