"""The tracks and sessions that the loaders list, and the names under which they find files."""

import logging
from pathlib import Path

import pytest

from apex_pipeline.catalog import S3DataLoader
from apex_pipeline_tests.catalog.loaders.harness import (
    LAP_TABLE,
    LoaderHarness,
    attempts,
    loaded,
    local_harness,
    log_of,
    messages,
    put_quickly,
    raw_laps,
    settings_of,
)
from apex_pipeline_tests.servers.seaweed import S3Bucket


@pytest.mark.req("A-022", "A-030", "A-034", "A-014")
def test_tracks_are_the_folders_below_data_with_their_catalog_names(harness: LoaderHarness) -> None:
    harness.put(
        dict.fromkeys(
            [
                "data/barber/R1_barber_lap_start.csv",
                "data/COTA/Race 1/COTA_lap_start_time_R1.csv",
                "data/Road America/Race 1/road_america_lap_start_R1.csv",
                "data/2026/sonoma/R1_sonoma_lap_start.csv",
                "data/Spa 24h/x.csv",
                "data/readme.txt",
                "data/.DS_Store",
                "data/__MACOSX/._x.csv",
                "data/.hidden/x.csv",
                "tables/laps/x.csv",
            ],
            b"",
        )
    )
    assert harness.loader.get_available_tracks() == [
        "Spa 24h",
        "barber_motorsports_park",
        "circuit_of_the_americas",
        "road_america",
        "sonoma",
    ]


@pytest.mark.req("A-034")
def test_folder_markers_are_neither_tracks_nor_sessions(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    for key in ("data/", "data/sebring/", "data/empty/", "data/sonoma/race_lap_start.csv"):
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=LAP_TABLE if key.endswith("csv") else b"")
    loader = S3DataLoader(settings_of(s3_bucket, tmp_path))
    assert loader.get_available_tracks() == ["sonoma"]
    assert loader.get_available_sessions("sonoma") == ["race"]
    assert loader.get_available_sessions("sebring") == []


@pytest.mark.req("A-033", "A-065", "A-124")
def test_more_than_a_thousand_tracks_are_listed(harness: LoaderHarness) -> None:
    put_quickly(harness, {f"data/track_{number:04d}/race_lap_start.csv": b"" for number in range(1_005)})
    assert harness.loader.get_available_tracks() == [f"track_{number:04d}" for number in range(1_005)]


@pytest.mark.req("A-031", "K-09", "A-023")
def test_sessions_are_the_part_of_file_names_before_the_track(harness: LoaderHarness) -> None:
    names = (
        "practice_barber_motorsports_park",
        "qualifying_barber-motorsports-park",
        "race",
        "R1_barber",
        "warm_up_barber",
    )
    harness.put({f"data/barber_motorsports_park/{name}_lap_start.csv": LAP_TABLE for name in names})
    sessions = ["R1", "practice", "qualifying", "race", "warm_up"]
    for track in ("barber_motorsports_park", "barber", "Barber Motorsports Park"):
        assert harness.loader.get_available_sessions(track) == sessions
        assert all(len(loaded(harness.loader.load_lap_times(track, session))) == 2 for session in sessions)


@pytest.mark.req("A-026", "A-066")
@pytest.mark.parametrize("content", [LAP_TABLE, raw_laps(2)], ids=["table", "raw"])
def test_real_file_names_are_found_by_any_name_of_track_and_session(harness: LoaderHarness, content: bytes) -> None:
    harness.put({"data/COTA/Race 1/COTA_lap_start_time_R1.csv": content})
    with log_of() as records:
        assert len(loaded(harness.loader.load_lap_times("circuit_of_the_americas", "R1"))) == 2
    assert attempts(records) == [
        "R1_circuit_of_the_americas_lap_start.csv",
        "R1_circuit-of-the-americas_lap_start.csv",
        "R1_lap_start.csv",
    ]
    assert harness.loader.get_available_sessions("COTA") == ["R1"]
    assert len(loaded(harness.loader.load_lap_times("cota", "race 1"))) == 2


_ORIGINAL_PATHS = {
    "barber_motorsports_park": "barber/R1_barber_lap_start.csv",
    "circuit_of_the_americas": "COTA/Race 1/COTA_lap_start_time_R1.csv",
    "indianapolis": "indianapolis/R1_indianapolis_motor_speedway_lap_start.csv",
    "road_america": "Road America/Race 1/road_america_lap_start_R1.csv",
    "sebring": "Sebring/Race 1/sebring_lap_start_time_R1.csv",
    "sonoma": "Sonoma/Race 1/sonoma_lap_start_time_R1.csv",
    "virginia_international_raceway": "VIR/Race 1/vir_lap_start_R1.csv",
}


@pytest.mark.req("A-022", "A-158")
def test_all_seven_tracks_load_with_their_original_file_names(harness: LoaderHarness) -> None:
    harness.put({f"data/{path}": raw_laps(2) for path in _ORIGINAL_PATHS.values()})
    assert harness.loader.get_available_tracks() == sorted(_ORIGINAL_PATHS)
    for track in _ORIGINAL_PATHS:
        assert harness.loader.get_available_sessions(track) == ["R1"]
        assert len(loaded(harness.loader.load_lap_times(track, "R1"))) == 2, track


@pytest.mark.req("K-09")
@pytest.mark.parametrize("content", [LAP_TABLE, raw_laps(2)], ids=["table", "raw"])
def test_an_unlisted_track_may_be_shortened_in_file_names(harness: LoaderHarness, content: bytes) -> None:
    folder = "data/harbor_street_circuit"
    harness.put({f"{folder}/R1_harbor_lap_start.csv": content, f"{folder}/R1_harbor_lap_end.csv": raw_laps(2)})
    assert harness.loader.get_available_sessions("harbor_street_circuit") == ["R1"]
    assert len(loaded(harness.loader.load_lap_times("harbor_street_circuit", "R1"))) == 2


def test_a_season_folder_becomes_part_of_the_session(harness: LoaderHarness) -> None:
    harness.put({"data/2026/barber/R1_barber_lap_start.csv": raw_laps(2)})
    assert harness.loader.get_available_tracks() == ["barber_motorsports_park"]
    assert harness.loader.get_available_sessions("barber_motorsports_park") == ["2026_R1"]
    assert len(loaded(harness.loader.load_lap_times("barber_motorsports_park", "2026_R1"))) == 2
    assert harness.loader.load_lap_times("barber_motorsports_park", "R1") is None


def test_a_file_without_a_folder_belongs_to_the_track_in_its_name(harness: LoaderHarness) -> None:
    harness.put({"data/R1_vir_lap_start.csv": raw_laps(2), "data/R2_barber_lap_start.csv": raw_laps(3, "R2")})
    assert harness.loader.get_available_tracks() == []
    assert len(loaded(harness.loader.load_lap_times("vir", "R1"))) == 2


def test_laps_are_derived_from_lap_ends_if_there_are_no_lap_starts(harness: LoaderHarness) -> None:
    harness.put({"data/barber/R1_barber_lap_end.csv": raw_laps(3)})
    assert harness.loader.get_available_sessions("barber") == ["R1"]
    assert len(loaded(harness.loader.load_lap_times("barber", "R1"))) == 3


@pytest.mark.req("A-024", "A-026")
@pytest.mark.parametrize("content", [LAP_TABLE, raw_laps(2, "practice")], ids=["table", "raw"])
def test_the_users_own_patterns_are_tried_after_the_built_in_ones(tmp_path: Path, content: bytes) -> None:
    rules = tmp_path / "tracks.yaml"
    rules.write_text(
        'patterns:\n  - {kind: lap_start, name: "{track}_runden_{session}.csv"}\n'
        '  - {kind: telemetry, name: "{track}_daten_{session}.csv"}\n'
    )
    harness = local_harness(tmp_path, tracks_file=rules)
    harness.put({"data/monza/monza_runden_training.csv": content})
    assert harness.loader.get_available_sessions("monza") == ["training"]
    with log_of() as records:
        assert len(loaded(harness.loader.load_lap_times("monza", "training"))) == 2
    assert len(attempts(records)) == 4
    assert "_runden_" in attempts(records)[3]


@pytest.mark.req("A-026")
def test_two_tables_for_one_session_are_reported_and_none_is_picked(harness: LoaderHarness) -> None:
    names = ["data/sonoma/Race 1/a/sonoma_lap_start_time_R1.csv", "data/sonoma/Race 1/b/sonoma_lap_start_time_R1.csv"]
    harness.put({name: LAP_TABLE + str(index).encode() + b",99,x,1\n" for index, name in enumerate(names)})
    with log_of(logging.ERROR) as records:
        assert harness.loader.load_lap_times("sonoma", "R1") is None
    assert "2 files claim to be those of sonoma/R1" in messages(records)[0]


@pytest.mark.req("A-026")
def test_two_raw_files_of_one_session_are_merged_with_a_warning(harness: LoaderHarness) -> None:
    harness.put(
        {
            "data/sonoma/Race 1/a/sonoma_lap_start_time_R1.csv": raw_laps(2, cars=("GR86-001-1",)),
            "data/sonoma/Race 1/b/sonoma_lap_start_time_R1.csv": raw_laps(2, cars=("GR86-002-2",)),
        }
    )
    with log_of(logging.WARNING) as records:
        laps = loaded(harness.loader.load_lap_times("sonoma", "R1"))
    assert set(laps["Driver"]) == {"GR86-001-1", "GR86-002-2"}
    assert "2 files of the kind lap_start, merged" in messages(records)[0]


def test_an_unidentified_raw_file_is_loaded_as_the_requested_session(harness: LoaderHarness) -> None:
    harness.put({"data/24/x_24_lap_start.csv": raw_laps(3)})
    assert len(loaded(harness.loader.load_lap_times("24", "x"))) == 3


@pytest.mark.req("A-066")
def test_every_session_of_the_real_files_can_be_loaded(real_data: Path, tmp_path: Path) -> None:
    harness = local_harness(tmp_path)
    for path in sorted((real_data / "grcup").rglob("*")):
        if path.is_file():
            target = tmp_path / "lake" / "data" / path.relative_to(real_data / "grcup")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    sessions = [
        (track, session)
        for track in harness.loader.get_available_tracks()
        for session in harness.loader.get_available_sessions(track)
    ]
    assert len(sessions) == 9
    for track, session in sessions:
        laps = loaded(harness.loader.load_lap_times(track, session))
        assert len(laps) > 300
        assert laps["LapTime"].median() > 60
    samples = loaded(harness.loader.load_telemetry("barber_motorsports_park", "R1"))
    assert samples[["Speed", "Throttle", "Brake", "Latitude", "Longitude"]].notna().any().all()
    assert samples["Time"].min() == 0
