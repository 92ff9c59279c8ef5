"""Scores and notes of the nine real races: the notes contain all known problems in at most eight sentences."""

import pyarrow as pa
import pytest

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_timing import results_table
from apex_pipeline.sources.gr_cup.quality import score_session, session_note_of
from apex_pipeline.tables import QUALITY, TELEMETRY_CARS
from apex_pipeline_tests.sources.gr_cup.quality.session_builder import row_of
from apex_pipeline_tests.sources.gr_cup.real_races import BARBER, COTA, ROAD_AMERICA, SEBRING, VIR, Races

ALL = [(track, session) for track in (BARBER, COTA, SEBRING, VIR) for session in ("R1", "R2")] + [(ROAD_AMERICA, "R1")]


@pytest.fixture(scope="module")
def qualities(races: Races) -> dict[tuple[str, str], pa.Table]:
    tables: dict[tuple[str, str], pa.Table] = {}
    for key in ALL:
        derived, official = races[key].derived(), races[key].official_table()
        results, _ = results_table(*key, races[key].parsed[FileKind.RESULTS])
        tables[key] = score_session(*key, derived.laps, derived.cars, official, results, TELEMETRY_CARS.empty())
    return tables


@pytest.mark.parametrize("key", ALL)
def test_the_table_matches_its_schema_and_the_note_is_short(
    qualities: dict[tuple[str, str], pa.Table], key: tuple[str, str]
) -> None:
    assert QUALITY.violations(qualities[key]) == []
    assert 2 <= session_note_of(qualities[key]).count(". ") + 1 <= 8


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ((BARBER, "R1"), "20 cars with lap triggers, none with telemetry"),
        ((BARBER, "R1"), "official cars matched with none of them: 41, 51."),
        ((BARBER, "R1"), "GR86-060-2 is car 111"),
        ((BARBER, "R2"), "The export ends 3 min 30 s before the last official crossing"),
        ((COTA, "R1"), "GR86-037-03 is car 3, GR86-040-3 is car 03."),
        ((COTA, "R2"), "The official clock runs 7.4 s behind the cars' crossings"),
        ((ROAD_AMERICA, "R1"), "The export ends 24 min 8 s before the last official crossing"),
        ((ROAD_AMERICA, "R1"), "GR86-004-78 could be 41 or 58"),
        ((SEBRING, "R2"), "crossed the line without racing: GR86-013-80."),
        ((VIR, "R2"), "did not start: 78; crossed the line without racing: GR86-015-31, GR86-047-21."),
    ],
)
def test_the_note_contains_the_known_problems(
    qualities: dict[tuple[str, str], pa.Table], key: tuple[str, str], expected: str
) -> None:
    assert expected in session_note_of(qualities[key])


@pytest.mark.parametrize("key", ALL)
def test_only_the_truncated_race_lacks_laps(qualities: dict[tuple[str, str], pa.Table], key: tuple[str, str]) -> None:
    level = row_of(qualities[key], "lap_coverage", None)["level"]
    assert level == ("warn" if key == (ROAD_AMERICA, "R1") else "ok")
