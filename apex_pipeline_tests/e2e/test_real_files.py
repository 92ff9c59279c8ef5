"""Syncs the real race files: nine sessions, seven naming schemes, and one file of the wrong race."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import table_key
from apex_pipeline.tables import RACE_TABLES
from apex_pipeline_tests.e2e.conftest import Apex, SyncedLake, ignore, settings_in
from apex_pipeline_tests.e2e.screens import differences, printed_rows, run_on_terminal, too_wide
from apex_pipeline_tests.servers.s3_server import S3Server

_TRACKS = [
    "barber_motorsports_park",
    "circuit_of_the_americas",
    "road_america",
    "sebring",
    "virginia_international_raceway",
]
_WRONG_RACE = "virginia-international-raceway/VIR/Race 2/vir_lap_time_R2.csv"


# The nine syncs take half a minute; test_real_accuracy.py derives the laps of the same files in every run.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the nine races, with the telemetry of eight of them beside the laps."""
    folder = tmp_path_factory.mktemp("real") / "source"
    shutil.copytree(real_data / "grcup", folder)
    for track in _tracks_of(real_data / "grcup_rebuilt"):
        shutil.copytree(track, folder / track.name, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def lake(source: Path) -> SyncedLake:
    settings = settings_in(source.parent, source)
    return SyncedLake(settings, sync(settings, ignore))


def _tracks_of(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


@pytest.mark.req("A-158")
def test_exactly_nine_sessions_of_five_tracks_are_found(lake: SyncedLake) -> None:
    assert lake.outcome.exit_code == 0
    assert list(lake.catalog.tracks()["track"]) == _TRACKS
    assert len(lake.catalog.sessions()) == 9
    assert len(lake.catalog.snapshot.sessions) == 9


def test_every_file_has_one_row_and_only_the_wrong_race_file_is_quarantined(lake: SyncedLake, source: Path) -> None:
    files = lake.catalog.files()
    on_disk = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert set(files["path"]) == on_disk
    assert files["path"].is_unique
    unused = files[~files["status"].isin(["ready", "ignored"])].to_dict("records")
    assert [row["path"] for row in unused] == [_WRONG_RACE]
    assert "meta_session says R1 (483 of 483 rows" in unused[0]["reason"]
    assert "byte for byte virginia-international-raceway/VIR/Race 1/vir_lap_time_R1.csv" in unused[0]["reason"]


def test_the_best_valid_lap_equals_the_official_best_lap(lake: SyncedLake) -> None:
    for record in lake.catalog.snapshot.sessions:
        laps = lake.catalog.laps(record.track, record.session)
        official = lake.catalog.official_laps(record.track, record.session)["lap_time_s"].min()
        assert laps[laps["is_valid"]]["lap_time_s"].min() == official, record.key


def test_the_order_of_the_last_laps_with_the_penalties_is_the_official_result(lake: SyncedLake) -> None:
    with_penalties = 0
    for key in lake.catalog.snapshot.keys:
        race = lake.catalog.session(*key)
        gaps = race.gaps(frame="arrow").to_pylist()
        last = {(row["car_number"], row["entry"]): row for row in gaps}  # in the order of the laps
        rows = [row for row in race.penalties(frame="arrow").to_pylist() if row["laps_completed"]]
        assert {(row["car_number"], row["entry"]) for row in rows} == last.keys(), key
        for row in rows:
            lap = last[row["car_number"], row["entry"]]
            row["time_s"] = lap["elapsed_s"] + row["penalty_s"]
            assert (row["laps_completed"], row["elapsed_s"]) == (lap["lap_number"], lap["elapsed_s"]), (key, row)
            with_penalties += row["penalty_s"] > 0
        in_order = sorted(rows, key=lambda row: (-row["laps_completed"], row["time_s"]))
        assert [row["position"] for row in in_order] == list(range(1, len(rows) + 1)), key
        official = {row["position"]: row["gap_to_first_s"] for row in race.results(frame="arrow").to_pylist()}
        for row in in_order:
            if row["laps_completed"] == in_order[0]["laps_completed"]:
                gap_s = row["time_s"] - in_order[0]["time_s"]
                assert abs(gap_s - official[row["position"]]) < 0.0006, (key, row)
        assert race.timing_note == ""
    assert with_penalties == 17


def test_two_cars_with_the_same_printed_number_are_told_apart(lake: SyncedLake) -> None:
    race = lake.catalog.session("COTA", "R1")
    both = [row for row in race.penalties(frame="arrow").to_pylist() if row["car_number"] == "3"]
    assert [(row["position"], row["vehicle_id"], row["entry"]) for row in both] == [
        (15, "GR86-037-03", 2),
        (18, "GR86-040-3", 1),
    ]


def test_no_reading_of_the_eight_sessions_with_telemetry_is_lost(lake: SyncedLake) -> None:
    catalog = lake.catalog
    with_readings = 0
    for record in catalog.snapshot.sessions:
        counts = catalog.telemetry_counts(record.track, record.session)
        assert counts["cells_out"] + counts["exact_duplicates"] + counts["rejected"] == counts["readings_in"]
        assert catalog.rows("telemetry", record.track, record.session) == counts["rows_out"]
        with_readings += counts["readings_in"] > 0
    assert with_readings == 8


def test_samples_of_a_lap_are_between_its_start_and_end(lake: SyncedLake) -> None:
    catalog = lake.catalog
    samples = catalog.telemetry("barber_motorsports_park", "R1", vehicle_id="GR86-022-13")
    laps = catalog.laps("barber_motorsports_park", "R1")
    numbers = samples["lap_number"].dropna().unique()
    assert len(numbers) >= 1
    for number in numbers:
        lap = laps[(laps["vehicle_id"] == "GR86-022-13") & (laps["lap_number"] == number)].to_dict("records")[0]
        times = samples[samples["lap_number"] == number]["sample_time_utc"]
        assert times.between(lap["lap_start_utc"], lap["lap_end_utc"]).all()


@pytest.mark.req("A-068", "A-120")
def test_a_lake_in_s3_whose_telemetry_came_later_has_the_tables_of_the_local_one(
    lake: SyncedLake, real_data: Path, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sync the two races of one track: this covers every asset on both backends, much faster than all nine."""
    bucket = "real-files"
    s3_server.client().create_bucket(Bucket=bucket)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
    source = tmp_path / "source"
    settings = settings_in(tmp_path, source, use_s3_data=True, bucket=bucket, s3_endpoint_url=s3_server.endpoint)
    for delivery in ("grcup", "grcup_rebuilt"):
        # The lake keeps the files of the first delivery, although its folder is gone.
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(real_data / delivery / "COTA", source / "COTA")
        outcome = sync(settings, ignore)
        assert (outcome.exit_code, len(outcome.derived)) == (0, 2)
    local, remote = open_store(lake.settings, for_writing=False), open_store(settings, for_writing=False)
    for session in ("R1", "R2"):
        for table in RACE_TABLES:
            key = table_key(table.folder, table.name, f"circuit_of_the_americas/{session}")
            with local.open_as_file(key) as local_path, remote.open_as_file(key) as remote_path:
                left, right = pq.ParquetFile(local_path), pq.ParquetFile(remote_path)
                assert left.schema_arrow.equals(right.schema_arrow, check_metadata=False), key
                assert left.read().equals(right.read()), key
    assert len(open_catalog(settings=settings).sessions()) == 2


# -- what the command line shows of them -------------------------------------------------------------------------------

_QUESTIONS: list[tuple[str, ...]] = [
    *(("results",), ("results", "--all", "--wide"), ("best",), ("laps",), ("laps", "--doubtful"), ("laps", "--wide")),
    *(("cars",), ("weather",), ("quality",), ("table", "official_laps"), ("table", "telemetry_cars", "--wide")),
]
_LISTS: list[tuple[str, ...]] = [
    *(("tracks",), ("sessions",), ("sessions", "--wide"), ("best",), ("note",), ("history", "--limit", "9", "--wide")),
    *(("table", "laps", "--where", "not is_valid", "--sort", "track,-lap_time_s"), ("table", "results", "--wide")),
]
_REPORTS: list[tuple[str, ...]] = [
    *(("verify",), ("metrics",), ("cost",), ("gc",), ("history",), ("files",), ("files", "--status", "quarantined")),
    *(("note",), ("--help",), ("laps", "--help"), ("schedule",), ("export", "x.sqlite", "--to", "sqlite")),
    *(("bundle", "small", "--tracks", "sebring"), ("trace", "laps", "barber", "r1", "--car", "13", "--lap", "8")),
    *(("rejects", "barber", "r1"), ("diff", "2001"), ("laps", "barbr", "r1"), ("laps", "VIR", "r9")),
]


@pytest.fixture(scope="module")
def shown_lake(lake: SyncedLake) -> str:
    return str(lake.settings.lake_dir)


def _questions(catalog: Catalog) -> list[tuple[str, ...]]:
    """Return every question about every session, the telemetry of those that have some, and the lists of the lake."""
    asked: list[tuple[str, ...]] = [*_LISTS]
    for record in catalog.snapshot.sessions:
        for first, *rest in _QUESTIONS:
            where = 1 if first == "table" else 0
            asked.append((first, *rest[:where], *record.key, *rest[where:]))
        if record.tables["telemetry"].rows:
            asked.append(("telemetry", *record.key, "--limit", "40"))
    return asked


def _expected(words: tuple[str, ...], limit: int, apex: Apex) -> list[dict[str, Any]]:
    return json.loads(apex(*words, "--json").out)[:limit]


@pytest.mark.parametrize("columns", [80, pytest.param(100, marks=pytest.mark.soak), 200])
def test_every_cell_on_a_terminal_is_the_value_of_the_table_and_no_line_is_too_wide(
    lake: SyncedLake, shown_lake: str, apex: Apex, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    for words in _questions(lake.catalog)[:: 1 if columns == 80 else 3]:
        asked = (*words, "--lake", shown_lake)
        code, lines = run_on_terminal(monkeypatch, columns, *asked)
        assert code == 0, words
        assert too_wide(lines, columns) == [], words
        expected = _expected(asked, 60, apex)
        names = [*expected[0]] if expected else []
        assert not expected or list(differences(printed_rows(lines, names), expected)) == [], words


@pytest.mark.parametrize("width", ["80", ""])
def test_a_pipe_shows_every_row_in_plain_text_and_fits_columns_where_it_is_set(
    lake: SyncedLake, shown_lake: str, apex: Apex, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    for words in _questions(lake.catalog)[::3]:
        asked = (*words, "--lake", shown_lake)
        text = apex(*asked).out
        assert not set(text) & set("\x1b│┃┏┡─━"), words
        if width:
            assert too_wide(text.splitlines(), int(width)) == [], words
        expected = _expected(asked, 10**9, apex)
        names = [*expected[0]] if expected else []
        assert not expected or list(differences(printed_rows(text.splitlines(), names), expected)) == [], words


@pytest.mark.parametrize("columns", [80, *(pytest.param(width, marks=pytest.mark.soak) for width in (100, 200))])
@pytest.mark.parametrize("words", _REPORTS, ids=" ".join)
def test_no_line_of_any_report_is_wider_than_the_terminal(
    shown_lake: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    columns: int,
) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", shown_lake)
    _, lines = run_on_terminal(monkeypatch, columns, *words)
    assert too_wide(lines, columns) == []
    assert lines or capsys.readouterr().err


def test_the_first_questions_have_the_right_answers(shown_lake: str, apex: Apex) -> None:
    first = json.loads(apex("results", "barber", "r1", "--limit", "1", "--json", "--lake", shown_lake).out)[0]
    assert (first["position"], first["car_number"], first["laps_completed"]) == (1, "13", 27)
    best = json.loads(apex("best", "Sebring", "Race 1", "--limit", "1", "--json", "--lake", shown_lake).out)[0]
    assert (best["car_number"], best["lap_number"], best["lap_time"]) == ("13", 4, "2:25.437")
    doubtful = json.loads(apex("laps", "sebring", "r1", "--doubtful", "--json", "--lake", shown_lake).out)
    assert (len(doubtful), {lap["is_valid"] for lap in doubtful}) == (18, {False})
    lines = apex("laps", "COTA", "r1", "--car", "#46", "--valid", "--csv", "--lake", shown_lake).out.splitlines()
    assert lines[0].startswith("track,session,vehicle_id,")
    assert len(lines) > 10


def test_a_session_without_telemetry_is_an_error_with_a_way_to_the_others(shown_lake: str, apex: Apex) -> None:
    result = apex("telemetry", "sebring", "r2", "--lake", shown_lake)
    assert result.code == 2
    assert "sebring/R2 has no telemetry" in result.error
