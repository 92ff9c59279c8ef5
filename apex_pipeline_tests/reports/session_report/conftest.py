"""A lake with a session of each kind that a report has to cope with."""

from pathlib import Path

import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.reports.session_report import facts_of, render_report
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.distance.conftest import driven_lake
from apex_pipeline_tests.reports.session_report.race_tables import note, publish, race

__all__ = ["driven_lake"]

SCRIPT = '</p><script>alert("note")</script>&lt;'
ARABIC = "\u0633\u0628\u0627\u0642 <b>\U0001f3ce</b>"


@pytest.fixture(scope="session")
def odd_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake of sessions that are large, small or incomplete; none has telemetry."""
    full = race(6, 10)
    thirty_one = race(31, 20, penalties={"1": 30.0, "2": 5.0}, numbers=["1", "2", "3", "3"])
    sessions = {
        "31_cars": thirty_one,
        "60_cars": race(60, 60),
        "one_car": race(1, 3),
        "one_lap": race(2, 1),
        "no_laps": {},
        "no_official": {name: rows for name, rows in full.items() if name not in {"official_laps", "results"}},
        "no_weather": {**full, "weather": [], "quality": []},
        "hostile": {**race(2, 4, numbers=["<img src=x>", "\u202e13"]), "quality": note(SCRIPT)},
        "day": race(30, 200),
    }
    folder = tmp_path_factory.mktemp("odd")
    return publish(folder, {SessionKey("mesa_verde_raceway", name): tables for name, tables in sessions.items()})


def report(lake: Path, track: str, session: str) -> str:
    """Return the report of a session."""
    return render_report(facts_of(open_catalog(lake).session(track, session)))
