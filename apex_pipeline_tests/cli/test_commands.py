"""The command line: results on standard output, one clear message per error, and the exit codes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from apex_pipeline.cli import main
from apex_pipeline.cli.format import count
from apex_pipeline.orchestration.daemon_settings import DAEMON_ENVIRONMENT
from apex_pipeline.sources.cells import masked_line
from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.seaweed import S3Bucket

_TRACK, _SESSION = "harbor_street_circuit", "R2"


def test_a_second_demo_reports_that_nothing_changed(
    demo_dir: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", "lake")
    result = apex("demo", "--megabytes", "2", "--telemetry-holes")
    assert result.code == 0
    assert "nothing changed, nothing was done" in result.out
    assert str(demo_dir / "lake") in result.out


def test_progress_is_lines_of_text_without_a_terminal(demo_dir: Path, apex: Apex) -> None:
    (line,) = apex("sync", "demo-weekend").error.splitlines()
    assert line.startswith("find       ")


def test_progress_is_json_lines_where_the_log_is_json(
    demo_dir: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APEX_LOG_FORMAT", "json")
    lines = apex("sync", "demo-weekend").error.splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["find"]


def test_sync_json_is_one_object(demo_dir: Path, apex: Apex) -> None:
    outcome = json.loads(apex("sync", "demo-weekend", "--json").out)
    assert (outcome["exit_code"], outcome["is_unchanged"], outcome["failures"]) == (0, True, [])


@pytest.mark.req("A-029")
@pytest.mark.parametrize(
    ("command", "column"),
    [
        (("tracks",), "track"),
        (("sessions",), "session"),
        (("sessions", _TRACK), "inputs_version"),
        (("files", "--status", "quarantined"), "reason"),
        (("laps", _TRACK, _SESSION), "lap_time_s"),
        (("telemetry", _TRACK, _SESSION, "--channel", "speed_kph"), "speed_kph"),
        (("rejects", _TRACK, _SESSION), "source_row"),
    ],
)
def test_every_list_command_prints_a_table_or_json(
    demo_dir: Path, apex: Apex, command: tuple[str, ...], column: str
) -> None:
    rows = json.loads(apex(*command, "--json").out)
    assert rows
    assert column in rows[0]
    shown = apex(*command)
    assert shown.code == 0
    assert f"({count(len(rows), 'row')})" in shown.out


@pytest.mark.req("A-001", "A-014")
def test_a_machine_without_race_files_reads_the_lake_in_the_bucket(
    bucket_lake: S3Bucket, synced: Path, apex: Apex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not list(tmp_path.iterdir())
    from_bucket = {what: json.loads(apex(what, "--json").out) for what in ("tracks", "sessions")}
    monkeypatch.setenv("USE_S3_DATA", "false")
    monkeypatch.chdir(synced)
    assert from_bucket == {what: json.loads(apex(what, "--json").out) for what in ("tracks", "sessions")}
    assert from_bucket["tracks"]


def test_laps_filters_by_vehicle_id_chassis_or_number(demo_dir: Path, apex: Apex) -> None:
    rows = json.loads(apex("laps", _TRACK, _SESSION, "--chassis", "022", "--json").out)
    assert {row["vehicle_id"] for row in rows} == {"GR86-022-13"}
    assert rows == json.loads(apex("laps", _TRACK, _SESSION, "--car", "GR86-022-13", "--json").out)
    assert rows == json.loads(apex("laps", _TRACK, _SESSION, "--car", "13", "--json").out)


def test_a_chassis_given_as_car_is_an_error_that_says_how_to_give_it(demo_dir: Path, apex: Apex) -> None:
    result = apex("laps", _TRACK, _SESSION, "--car", "022")
    assert result.code == 2
    assert "022 is a chassis: write --chassis 022, or GR86-022-13 (#13)" in result.error


@pytest.mark.parametrize("car", [("--chassis", "022"), ("--car", "13"), ("--car", "#13")])
def test_telemetry_filters_by_car_and_lap(demo_dir: Path, apex: Apex, car: tuple[str, str]) -> None:
    laps = json.loads(apex("laps", _TRACK, _SESSION, "--chassis", "022", "--json").out)
    lap = next(row for row in laps if row["is_valid"])
    words = ("telemetry", _TRACK, _SESSION, "--lap", str(lap["lap_number"]), "--channel", "gear", "--json")
    samples = json.loads(apex(*words, *car).out)
    assert samples == json.loads(apex(*words, "--car", "GR86-022-13").out)
    assert {row["lap_number"] for row in samples} == {lap["lap_number"]}
    assert all(lap["lap_start_utc"] <= row["sample_time_utc"] < lap["lap_end_utc"] for row in samples)


def test_telemetry_filters_by_time(demo_dir: Path, apex: Apex) -> None:
    words = ("telemetry", _TRACK, _SESSION, "--chassis", "022", "--channel", "gear", "--json")
    times = [row["sample_time_utc"] for row in json.loads(apex(*words).out)]
    middle, end = times[len(times) // 2], times[-1]
    chosen = json.loads(apex(*words, "--start", middle, "--end", end).out)
    assert [row["sample_time_utc"] for row in chosen] == [time for time in times if middle <= time < end]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--car", "99"), "No car is called '99'"),
        (("--car", "13", "--lap", "999"), "GR86-022-13 has no lap 999"),
        (("--start", "noon"), "'noon' is not a time"),
        (("--end", "2025-09-06T18:40:00"), "has no time zone"),
    ],
)
def test_a_telemetry_query_that_matches_nothing_is_an_error(
    demo_dir: Path, apex: Apex, words: tuple[str, ...], message: str
) -> None:
    result = apex("telemetry", _TRACK, _SESSION, *words)
    assert result.code == 2
    assert message in result.error


def test_json_times_are_iso_in_utc_and_missing_values_null(demo_dir: Path, apex: Apex) -> None:
    row = json.loads(apex("laps", _TRACK, _SESSION, "--json").out)[0]
    assert row["lap_start_utc"].endswith("Z")
    assert row["telemetry_lap_time_s"] is None


def test_an_unknown_channel_is_an_error(demo_dir: Path, apex: Apex) -> None:
    result = apex("telemetry", _TRACK, _SESSION, "--channel", "boost_bar")
    assert result.code == 2
    assert "boost_bar" in result.error


def test_an_unknown_session_is_an_error_that_lists_the_published_ones(demo_dir: Path, apex: Apex) -> None:
    result = apex("laps", _TRACK, "R9")
    assert result.code == 2
    assert f"{_TRACK}/R9 is not published" in result.error
    assert f"{_TRACK}/{_SESSION}" in result.error


def test_an_empty_lake_is_an_error(tmp_path: Path, apex: Apex) -> None:
    result = apex("tracks")
    assert result.code == 2
    assert "Nothing is published" in result.error
    assert "apex sync" in result.error


def test_explain_prints_why_a_misplaced_file_is_quarantined(demo_dir: Path, apex: Apex) -> None:
    result = apex("explain", "demo-weekend/Mesa Verde Raceway/Race 2/mesa_lap_time_R2.csv")
    assert "quarantined: meta_session says R1" in result.out
    assert "byte for byte Mesa Verde Raceway/Race 1/mesa_lap_time_R1.csv" in result.out.replace("demo-weekend/", "")


def test_explain_of_a_missing_file_is_an_error(apex: Apex) -> None:
    assert apex("explain", "nowhere.csv").code == 2


def test_an_invalid_setting_is_one_message_without_a_traceback(apex: Apex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_S3_DATA", "maybe")
    result = apex("tracks")
    assert result.code == 2
    assert "USE_S3_DATA" in result.error
    assert "Traceback" not in result.error


def test_apex_debug_raises_the_error_with_its_traceback(apex: Apex, monkeypatch: pytest.MonkeyPatch) -> None:
    from apex_pipeline.errors import ObjectMissingError  # noqa: PLC0415  -- only this test needs it

    monkeypatch.setenv("APEX_DEBUG", "1")
    monkeypatch.setattr("sys.argv", ["apex", "tracks"])
    with pytest.raises(ObjectMissingError):
        main()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "does not exist"),
        (lambda folder: folder.write_text("x"), "is a file"),
        (lambda folder: folder.mkdir(), "is empty"),
    ],
)
def test_a_source_that_is_not_a_folder_of_files_is_an_error(
    tmp_path: Path, apex: Apex, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "source")
    result = apex("sync", "source")
    assert result.code == 2
    assert message in result.error
    assert not (tmp_path / "lake").exists()


def test_a_folder_of_photos_is_refused_before_a_lake_is_created(tmp_path: Path, apex: Apex) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(7):
        (photos / f"beach_{number}.jpg").write_bytes(b"\xff\xd8\xff")
    result = apex("sync", "photos")
    assert result.code == 2
    assert "No race files in photos: beach_0.jpg (picture or film; not race data)" in result.error
    assert "and 2 more" in result.error
    assert not (tmp_path / "lake").exists()


def test_the_ui_starts_dagster_with_the_home_that_sync_used(
    tmp_path: Path,
    apex: Apex,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def record(command: list[str], environment: dict[str, str]) -> int:
        started.append((command, environment))
        return 0

    monkeypatch.setattr("apex_pipeline.cli.pipeline.run_until_stopped", record)
    assert apex("ui", "--port", "3999").code == 0
    ((command, environment),) = started
    assert command[1:4] == ["dev", "-w", command[3]]
    assert command[-2:] == ["-p", "3999"]
    assert environment["DAGSTER_HOME"] == str(tmp_path / ".dagster")
    assert environment.items() >= DAEMON_ENVIRONMENT.items()
    assert (tmp_path / ".dagster" / "dagster.yaml").is_file()


def test_cars_lists_the_evidence_for_each_number(demo_dir: Path, apex: Apex) -> None:
    cars = {row["vehicle_id"]: row for row in json.loads(apex("cars", _TRACK, _SESSION, "--json").out)}
    car = cars["GR86-022-13"]
    assert (car["car_number"], car["method"], car["has_started"]) == ("13", "official_crossings", True)
    assert car["agreeing_crossings"] <= car["official_crossings"]
    shown = apex("cars", _TRACK, _SESSION).out
    assert f"Cars of {_TRACK}/{_SESSION} ({len(cars)} rows)" in shown
    assert car["evidence"].split()[0] in shown


def test_trace_prints_the_file_digest_and_rows_of_a_lap(demo_dir: Path, apex: Apex) -> None:
    result = apex("trace", "laps", _TRACK, _SESSION, "--chassis", "022", "--lap", "5")
    assert result.code == 0
    headings = ["GR86-022-13, car 13, lap 5", "Crossing that starts", "Crossing that ends", "Official timing"]
    places = [result.out.index(heading) for heading in headings]
    assert places == sorted(places)
    path = f"{_TRACK}/R2_harbor_lap_end.csv"
    content = (demo_dir / "demo-weekend" / path).read_bytes()
    assert f"{path}  sha256 {hashlib.sha256(content).hexdigest()}" in result.out
    (line,) = {line for line in result.out.splitlines() if ": 13;1;5;" in line}
    (sections,) = (demo_dir / "demo-weekend" / _TRACK).glob("23_*Race 2*")
    number, _, text = line.strip().removeprefix("line ").partition(": ")
    assert masked_line(sections.read_text().splitlines()[int(number) - 1]) == text


def test_no_line_of_a_trace_is_wider_than_the_screen_and_raw_rows_are_whole(
    demo_dir: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("trace", "laps", _TRACK, _SESSION, "--chassis", "022", "--lap", "5")
    rows = [row for item in json.loads(apex(*words, "--json").out)["evidence"] for row in item["rows"] if row["line"]]
    monkeypatch.setenv("COLUMNS", "80")
    shown = apex(*words).out.splitlines()
    assert max(map(len, shown)) <= 80
    text = "".join(line.removeprefix(" " * (len(line) - len(line.lstrip()))) for line in shown)
    assert rows
    assert all(f"line {row['line']}: {row['text']}" in text for row in rows)


def test_trace_as_json_accepts_a_car_number(demo_dir: Path, apex: Apex) -> None:
    trace = json.loads(apex("trace", "laps", _TRACK, _SESSION, "--car", "#13", "--lap", "5", "--json").out)
    assert (trace["lap"]["vehicle_id"], trace["lap"]["lap_number"]) == ("GR86-022-13", 5)
    assert trace["lap"]["lap_end_utc"].endswith("+00:00")
    assert [evidence["role"] for evidence in trace["evidence"]] == ["begin", "end", "official"]
    assert all({"file", "sha256", "line", "text"} == set(row) for item in trace["evidence"] for row in item["rows"])


def test_trace_prints_the_note_on_a_missing_crossing(demo_dir: Path, apex: Apex) -> None:
    laps = json.loads(apex("laps", _TRACK, _SESSION, "--json").out)
    lap = next(lap for lap in laps if "missing_crossing" in lap["flags"])
    result = apex("trace", "laps", _TRACK, _SESSION, "--car", lap["vehicle_id"], "--lap", str(lap["lap_number"]))
    assert "No lap file has it." in result.out
    assert "missing_crossing" in result.out


def test_an_unknown_car_is_an_error_that_lists_the_known_ones(demo_dir: Path, apex: Apex) -> None:
    result = apex("trace", "laps", _TRACK, _SESSION, "--car", "999", "--lap", "5")
    assert result.code == 2
    assert "No car is called '999'" in result.error
    assert "GR86-022-13 (#13)" in result.error
