"""Hints from a path: kind, track, session, season and version, and which files are not race data."""

import pytest

from apex_pipeline.sources.gr_cup.discovery.path_hints import PathHints, ignore_reason, parse_path
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.session_names import (
    are_numbered_apart,
    find_session,
    number_of,
    session_name,
    session_type,
)

BARBER = "barber_motorsports_park"
COTA = "circuit_of_the_americas"
VIR = "virginia_international_raceway"


def hints_of(path: str) -> PathHints:
    return parse_path(path, load_rules())


def first_track(path: str) -> str | None:
    return next((hint.slug for hint in hints_of(path).tracks), None)


def first_session(path: str) -> str | None:
    return next((hint.session for hint in hints_of(path).sessions), None)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".DS_Store", "operating system"),
        ("__MACOSX/barber/R1_barber_lap_start.csv", "operating system"),
        (".git/x.csv", "operating system"),
        ("barber/._R1_barber_lap_start.csv", "operating system"),
        ("Thumbs.db", "operating system"),
        ("barber.zip", "archive"),
        ("data/COTA.TAR", "archive"),
        ("barber/track map.PDF", "document"),
        ("barber/map.png", "picture"),
        ("load.py", "program"),
        ("barber/R1.parquet", "not a CSV file (.parquet)"),
        ("barber/README", "no extension"),
    ],
)
def test_files_that_are_not_race_data_are_ignored_by_their_path(path: str, reason: str) -> None:
    assert reason in (ignore_reason(path) or "")


@pytest.mark.parametrize("path", ["x.csv", "a/03_Results.CSV", "x.csv.gz", "x.CSV.ZST"])
def test_a_csv_file_may_be_race_data(path: str) -> None:
    assert ignore_reason(path) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lap_start", FileKind.LAP_START),
        ("cota_lap_start_time_R1", FileKind.LAP_START),
        ("R1 Lap Starts", FileKind.LAP_START),
        ("lapstart", FileKind.LAP_START),
        ("lap_end_time_R1", FileKind.LAP_END),
        ("lap_time", FileKind.LAP_TIME),
        ("lap-times", FileKind.LAP_TIME),
        ("sonoma_telemetry_R1", FileKind.TELEMETRY),
        ("03_09_2025_lap_start", FileKind.LAP_START),
        ("00_anything", FileKind.RESULTS),
        ("03_anything by Class", FileKind.RESULTS),
        ("05_anything", FileKind.RESULTS_BY_CLASS),
        ("23_anything", FileKind.SECTIONS),
        ("26_anything", FileKind.WEATHER),
        ("99_anything", FileKind.BEST_LAPS),
        ("AnalysisEnduranceWithSections_Race 1", FileKind.SECTIONS),
        ("Results by Class", FileKind.RESULTS_BY_CLASS),
        ("Best 10 Laps", FileKind.BEST_LAPS),
        ("weather", FileKind.WEATHER),
        ("Results", FileKind.RESULTS),
        ("GR Drivers Championship-1", FileKind.CHAMPIONSHIP),
        ("standings", FileKind.CHAMPIONSHIP),
        ("holidays", FileKind.UNKNOWN),
        ("overlap_timer", FileKind.UNKNOWN),
    ],
)
def test_the_kind_is_read_from_the_name(name: str, kind: FileKind) -> None:
    assert hints_of(f"sonoma/{name}.csv").kind is kind


@pytest.mark.parametrize(
    ("path", "track", "session"),
    [
        ("R1_barber_lap_start.csv", BARBER, "R1"),
        ("R2_indianapolis_motor_speedway_telemetry.csv", "indianapolis", "R2"),
        ("COTA_lap_start_time_R1.csv", COTA, "R1"),
        ("sonoma_telemetry_R1.csv", "sonoma", "R1"),
        ("road_america_lap_time_R2.csv", "road_america", "R2"),
        ("practice_barber_motorsports_park_lap_start.csv", BARBER, "practice"),
        ("practice-barber-motorsports-park-lap-start.csv", BARBER, "practice"),
        ("barber_motorsports_park/practice_lap_start.csv", BARBER, "practice"),
        ("Barber/FP2 lap end.csv", BARBER, "FP2"),
        ("barber/q1_lap_end.csv", BARBER, "Q1"),
        ("barber/qualifying_2_lap_end.csv", BARBER, "qualifying_2"),
        ("sonoma/Sonoma/Race 1/03_Results_Anonymized.CSV", "sonoma", "R1"),
        ("COTA/Race 2/03_Provisional Results_ Race 2_Anonymized.CSV", COTA, "R2"),
        ("VIR/Race 1/csv/unzipped/lap_start.csv", VIR, "R1"),
        ("VIR/race_01/lap_start.csv", VIR, "R1"),
        ("Barber Race 1/lap_start.csv", BARBER, "R1"),
        ("VIR/race/lap_start.csv", VIR, "race"),
        ("road-america/lap_start.csv", "road_america", None),
        ("Zandvoort/R1_lap_start.csv", "zandvoort", "R1"),
        ("R1_zandvoort_lap_start.csv", "zandvoort", "R1"),
        ("barber/zandvoort_lap_start.csv", "zandvoort", None),
        ("2026/R1/lap_start.csv", None, "R1"),
        ("data/raw/lap_start.csv", None, None),
        ("R1_x_lap_start.csv", None, "R1"),
        ("zandvoort_03_Results.CSV", None, None),
    ],
)
def test_track_and_session_are_read_from_name_and_folders(path: str, track: str | None, session: str | None) -> None:
    assert (first_track(path), first_session(path)) == (track, session)


@pytest.mark.parametrize("folder", ["barber2", "barber_2", "Barber 2"])
def test_a_number_after_a_track_makes_the_hint_loose(folder: str) -> None:
    (hint,) = hints_of(f"{folder}/R1_lap_start.csv").tracks
    assert (hint.slug, hint.is_known, hint.is_loose) == (BARBER, True, True)


@pytest.mark.parametrize("folder", ["Race 1b", "R1_b_side"])
def test_extra_text_after_a_session_makes_the_hint_loose(folder: str) -> None:
    (hint,) = hints_of(f"cota/{folder}/lap_start.csv").sessions
    assert (hint.session, hint.is_loose) == ("R1", True)


@pytest.mark.parametrize("folder", ["Race 1", "COTA Race 1", "R1"])
def test_a_folder_of_only_race_and_track_is_not_a_loose_hint(folder: str) -> None:
    hints = hints_of(f"{folder}/lap_start.csv")
    assert [(hint.session, hint.is_loose) for hint in hints.sessions] == [("R1", False)]


def test_hints_are_ordered_from_the_name_to_the_outermost_folder() -> None:
    hints = hints_of("sebring/Race 2/vir/Race 3/R1_cota_lap_start.csv")
    assert [hint.slug for hint in hints.tracks] == [COTA, VIR, "sebring"]
    assert [hint.session for hint in hints.sessions] == ["R1", "R3", "R2"]
    assert hints.home is not None
    assert hints.home.path == "sebring/Race 2/vir"


def test_race_without_a_number_is_vague_in_a_folder_but_not_in_a_name() -> None:
    (folder,) = hints_of("cota/race/lap_start.csv").sessions
    (name,) = hints_of("cota/race_lap_start.csv").sessions
    assert (folder.is_vague, name.is_vague) == (True, False)


@pytest.mark.parametrize(
    ("path", "season"),
    [
        ("2026/barber/R1_lap_start.csv", "2026"),
        ("barber/2026/R1_lap_start.csv", "2026"),
        ("2026-barber/R1_lap_start.csv", "2026"),
        ("barber 2026/R1_lap_start.csv", "2026"),
        ("Season 2026/barber/R1_lap_start.csv", "2026"),
        ("GR Cup 2026/barber/R1_lap_start.csv", "2026"),
        ("2026 zandvoort/R1_lap_start.csv", "2026"),
        ("2025/2026/barber/R1_lap_start.csv", "2026"),
        ("barber/R1_lap_start.csv", None),
        ("2026-hackathon/barber/R1_lap_start.csv", None),
        ("2026-hackathon/zandvoort/R1_lap_start.csv", None),
        ("data 2026/barber/R1_lap_start.csv", None),
        ("2026-03-29/barber/R1_lap_start.csv", None),
        ("1234/barber/R1_lap_start.csv", None),
        ("barber/race_2026_lap_start.csv", None),
    ],
)
def test_a_season_is_a_year_alone_or_next_to_a_track(path: str, season: str | None) -> None:
    assert hints_of(path).season == season


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("03_Provisional Results_Race 1", "provisional"),
        ("05_Provisionals Results by Class_Race 2", "provisional"),
        ("03_Provisional_Results_Race 2", "provisional"),
        ("03_Results Unofficial", "provisional"),
        ("03_Results GR Cup Race 1 Official1_Anonymized", "official"),
        ("03_GR Cup Race 1 Official Results", "official"),
        ("03_Results_Anonymized", None),
        ("26_Weather_Official", None),
    ],
)
def test_only_classifications_have_a_version(name: str, version: str | None) -> None:
    assert hints_of(f"vir/{name}.CSV").version == version


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("sebring/sprint_sebring_lap_start.csv", "sprint"),
        ("sebring/sprint_lap_start.csv", "sprint"),
        ("sebring/sebring_lap_start.csv", None),
        ("zandvoort/endurance_zandvoort_lap_start.csv", "endurance"),
        ("zandvoort/zand_lap_start.csv", None),
        ("sprint_lap_start.csv", None),
        ("sebring/lap_start.csv", None),
    ],
)
def test_an_unknown_word_in_a_track_folder_is_a_custom_session(path: str, word: str | None) -> None:
    assert hints_of(path).custom_session == word


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Laguna Seca/R1_lap_start.csv", "Laguna Seca"),
        ("laguna-seca/R1_lap_start.csv", "Laguna Seca"),
        ("R1_laguna_seca_lap_start.csv", "Laguna Seca"),
        ("laguna seca/R1_lap_start.csv", "laguna seca"),
    ],
)
def test_an_unknown_track_keeps_the_spelling_of_its_folder(path: str, name: str) -> None:
    (hint,) = hints_of(path).tracks
    assert (hint.slug, hint.name, hint.is_known) == ("laguna_seca", name, False)


def test_the_slug_of_a_very_long_folder_name_is_a_valid_key() -> None:
    (hint,) = hints_of(f"{'a' * 79} {'b' * 79}/R1_lap_start.csv").tracks
    assert hint.slug == "a" * 79


@pytest.mark.parametrize(
    ("text", "session", "rest"),
    [
        ("r1", "R1", ""),
        ("r01_barber", "R1", "barber"),
        ("cota_race_2_b", "R2", "cota_b"),
        ("race", "race", ""),
        ("race_2025", "race", "2025"),
        ("fp_3", "FP3", ""),
        ("warmup", "warmup", ""),
        ("test_2", "test_2", ""),
    ],
)
def test_find_session_returns_the_session_and_the_remaining_words(text: str, session: str, rest: str) -> None:
    found = find_session(text)
    assert found is not None
    assert (found.session, found.rest) == (session, rest)


@pytest.mark.parametrize("text", ["", "barber", "racer_1", "tracer1", "lap_start"])
def test_find_session_returns_none_without_a_session(text: str) -> None:
    assert find_session(text) is None


@pytest.mark.parametrize(
    ("word", "number", "name"),
    [
        ("race", "02", "R2"),
        ("r", None, "R"),
        ("race", None, "race"),
        ("q", None, "Q"),
        ("fp", "1", "FP1"),
        ("practice", "2", "practice_2"),
    ],
)
def test_a_session_has_one_canonical_name(word: str, number: str | None, name: str) -> None:
    assert session_name(word, number) == name


@pytest.mark.parametrize(
    ("session", "kind", "number"),
    [
        ("R1", "race", 1),
        ("2026_R1", "race", 1),
        ("race", "race", None),
        ("Q2", "qualifying", 2),
        ("qualifying", "qualifying", None),
        ("FP1", "practice", 1),
        ("2026_practice_2", "practice", 2),
        ("warmup", "other", None),
        ("sprint", "other", None),
        ("12", "other", None),
    ],
)
def test_type_and_number_are_read_from_a_session_name(session: str, kind: str, number: int | None) -> None:
    assert (session_type(session), number_of(session)) == (kind, number)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("R1", "R2", True),
        ("FP1", "practice_2", True),
        ("R1", "R1", False),
        ("R1", "race", False),
        ("R1", "FP2", False),
        ("2026_R1", "R1", False),
    ],
)
def test_sessions_of_one_type_with_different_numbers_are_different(
    one: str,
    other: str,
    expected: bool,  # noqa: FBT001  -- a parametrized value
) -> None:
    assert are_numbered_apart(one, other) is expected
