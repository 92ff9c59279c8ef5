"""Small race folders whose sessions have several versions, for tests that run whole syncs.

Version 1 and version 2 of a session have the same file names and other laps, because they come from weekends with
other seeds.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline.tables.session_key import SessionKey

HARBOR_R1 = SessionKey("harbor_street_circuit", "R1")
HARBOR_R2 = SessionKey("harbor_street_circuit", "R2")
MESA_R1 = SessionKey("mesa_verde_raceway", "R1")
MESA_R2 = SessionKey("mesa_verde_raceway", "R2")
SESSIONS = (HARBOR_R1, HARBOR_R2, MESA_R1, MESA_R2)

_BYTES = 750_000
_FOLDERS = {"harbor_street_circuit": "harbor_street_circuit", "mesa_verde_raceway": "Mesa Verde Raceway"}
# Files that are not needed for laps: their absence saves half of the time of a sync.
_DISPENSABLE = ("*telemetry*", "*Results*", "*Weather*", "*Best 10*", "*.pdf", ".DS_Store")


def make_version(folder: Path, version: int) -> Path:
    """Generate the weekend of a version, once, and return its folder."""
    weekend = folder / f"version-{version}"
    make_weekend(weekend, WeekendOptions(seed=6 + version, target_bytes=_BYTES))
    return weekend


def paths_of(weekend: Path, key: SessionKey) -> list[Path]:
    """Return the files of one session, relative to the weekend's folder."""
    number = key.session.removeprefix("R")
    folder = weekend / _FOLDERS[key.track]
    found = [path.relative_to(weekend) for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in found if f"R{number}" in path.name or f"Race {number}" in path.name)


def lay_out(target: Path, weekends: Mapping[SessionKey, Path], *, is_small: bool = True) -> Path:
    """Copy sessions from weekends into a new folder, and return it.

    Args:
        target: The folder.
        weekends: From which weekend each session comes.
        is_small: Leave out telemetry, results and weather.
    """
    for key, weekend in weekends.items():
        for path in paths_of(weekend, key):
            if not (is_small and any(path.match(pattern) for pattern in _DISPENSABLE)):
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(weekend / path, target / path)
    return target
