"""The steps of a session: each reads its own record and files only, and fails by name before it writes anything.

See lake_runs.py for the lake; test_step_order.py tests that no order of steps publishes fewer rows than a sync.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline import sources
from apex_pipeline.errors import MalformedFileError
from apex_pipeline.ingest.discover import discover
from apex_pipeline.ingest.session_work import prepared, unassigned_work_of, work_of
from apex_pipeline.ingest.source_folder import scan_folder
from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB, FIND_JOB, SESSION_JOB
from apex_pipeline.storage.factory import open_digest_cache
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.tables.session_key import parse_session_key
from apex_pipeline_tests.orchestration.lake_copies import copied, made_once
from apex_pipeline_tests.orchestration.lake_runs import STEPS, LakeRuns
from apex_pipeline_tests.sources.toy import PIT_STOPS, PitStops

R1, R2 = "spa/R1", "spa/R2"
LAP_FILE = "spa/R1_lap_start.csv"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeRuns]:
    with made_once(LakeRuns, tmp_path_factory) as lake:
        lake.race(R1)
        lake.race(R2)
        assert lake.run(FIND_JOB)
        assert lake.run(SESSION_JOB, R1)
        yield lake


@pytest.fixture
def made(original: LakeRuns, tmp_path: Path) -> Iterator[LakeRuns]:
    """A lake with two sessions, of which one is published."""
    with copied(original, tmp_path) as lake:
        yield lake


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_finding_sessions_adds_them_as_partitions_and_syncing_them_publishes_their_tables(lake: LakeRuns) -> None:
    lake.race(R1)
    lake.race("monza/R1", laps=5)
    assert lake.run(FIND_JOB)
    assert lake.partitions == ["monza/R1", R1]
    lake.sync()
    assert lake.published == ["monza/R1", R1]
    assert lake.rows("monza/R1")["laps"] == 10
    assert lake.rows(R1) == {
        "cars": 2,
        "lap_rejects": 0,
        "laps": 8,
        "official_laps": 8,
        "official_points": 0,
        "official_rejects": 0,
        "quality": 21,
        "results": 0,
        "telemetry": 5,
        "telemetry_cars": 1,
        "telemetry_holes": 4,
        "telemetry_rejects": 0,
        "weather": 0,
    }


def test_steps_run_one_by_one_publish_the_same_objects_as_one_run(made: LakeRuns) -> None:
    for step in STEPS:
        assert made.materialize(R2, *step)
    one_by_one = made.session(R2).tables
    made.settings.lake_dir.rename(made.settings.lake_dir.with_name("former"))
    made.home()
    made.sync(R2)
    assert made.session(R2).tables == one_by_one


def test_looking_for_sessions_where_there_are_none_fails(lake: LakeRuns) -> None:
    failure = lake.run(FIND_JOB).failure
    assert "No session was found" in failure
    assert str(lake.source) in failure


def test_a_fresh_home_finds_the_sessions_of_a_lake_that_another_home_filled(made: LakeRuns) -> None:
    shutil.rmtree(made.source)
    made.home()
    assert made.run(FIND_JOB)
    assert made.partitions == [R1]
    made.home()
    assert made.run(CATALOG_JOB)
    assert made.partitions == [R1]
    before = made.session(R1)
    assert made.run(DERIVE_JOB, R1)
    assert made.session(R1) == before


def test_recording_a_session_adds_every_session_that_the_discovery_found(lake: LakeRuns) -> None:
    lake.race(R1)
    lake.race(R2)
    assert lake.materialize(R1, "lake/files")
    assert lake.partitions == [R1, R2]


# -- nothing found -----------------------------------------------------------------------------------------------------


def test_copying_without_a_source_folder_fails_and_writes_nothing(made: LakeRuns) -> None:
    shutil.rmtree(made.source)
    before = made.objects()
    attempt = made.run(SESSION_JOB, R1)
    assert list(attempt.failures) == ["lake__files"]
    assert "does not exist on the machine" in attempt.failure
    assert "derive_session" in attempt.failure
    assert made.objects() == before


# Every step reads the key in the same way, so one key goes through all of them and the others through one each.
@pytest.mark.parametrize(("key", "steps"), [("spa/R11", STEPS), ("nowhere/R9", STEPS[:1]), ("spaa/R1", STEPS[-1:])])
def test_an_unknown_session_fails_at_every_step_and_writes_nothing(
    made: LakeRuns, key: str, steps: Sequence[tuple[str, ...]]
) -> None:
    before = made.objects()
    for step in steps:
        attempt = made.materialize(key, *step)
        assert not attempt
        assert key in attempt.failure
        assert made.objects() == before
    attempt = made.run(SESSION_JOB, key)
    assert list(attempt.failures) == ["lake__files"]
    assert f"sessions with files: {R1}, {R2}" in attempt.failure
    assert made.objects() == before


_NO_KEYS = ["spa", "a...b", "/abs", "spa/R1/x", "SPA/R1", "spa/R 1", "spa,R1"]


@pytest.mark.parametrize(
    ("key", "steps"), [("../evil", STEPS), *((key, [STEPS[n % len(STEPS)]]) for n, key in enumerate(_NO_KEYS))]
)
def test_a_key_that_is_no_session_fails_at_every_step_and_writes_nothing(
    made: LakeRuns, key: str, steps: Sequence[tuple[str, ...]]
) -> None:
    before = made.objects()
    for step in steps:
        attempt = made.materialize(key, *step)
        assert not attempt
        assert attempt.failures.popitem()[1]["error"] == "ConfigurationError"
    assert made.objects() == before
    assert not list(Path(made.store.uri).parent.glob("evil*"))


def test_a_session_that_is_no_partition_yet_is_refused_before_anything_is_written(lake: LakeRuns) -> None:
    """A run launched through the API may name any key, and Dagster fails only when it records what a step has done."""
    lake.race(R1)
    for step in STEPS:
        attempt = lake.run(SESSION_JOB, R1, step)
        assert attempt.failure == (
            "The session spa/R1 is not a partition. Launch the job find_sessions, which adds every session it finds, "
            "and then this run again."
        )
    assert lake.objects() == set()
    assert lake.run(FIND_JOB)
    assert lake.run(SESSION_JOB, R1)


def test_a_session_that_is_only_in_the_lake_has_nothing_to_copy_and_says_how_much_is_there(made: LakeRuns) -> None:
    for path in (made.source / "spa").glob("*R1*"):
        path.unlink()
    attempt = made.materialize(R1, "lake/files")
    assert attempt
    facts = attempt.made["lake/files"]
    assert (facts["copied"], facts["in_lake"], facts["bytes"]) == (0, 3, 0)


def test_a_session_without_a_usable_file_fails_and_names_the_reasons(lake: LakeRuns) -> None:
    lake.race(R2)
    lake.write("spa", {"R1_lap_start.csv": (lake.source / "spa" / "R2_lap_start.csv").read_text()})
    lake.materialize(R1, "lake/files")
    attempt = lake.materialize(R1, "lake/session")
    assert not attempt
    assert "None of the files of the session spa/R1 can be used" in attempt.failure
    assert LAP_FILE in attempt.failure


# -- out of order ------------------------------------------------------------------------------------------------------


def test_a_step_without_the_one_before_fails_and_names_what_to_materialize(made: LakeRuns) -> None:
    assert "Materialize the asset lake/files of the partition spa/R2" in made.materialize(R2, "lake/session").failure
    assert made.materialize(R2, "lake/files")
    for step in STEPS[2:]:
        assert "Materialize the asset lake/session" in made.materialize(R2, *step).failure
    assert made.materialize(R2, "lake/session")
    upstream = {"tables/laps": "official_laps", "tables/telemetry": "laps", "tables/quality": "laps"}
    for step, table in upstream.items():
        attempt = made.materialize(R2, step)
        assert f"Materialize the asset tables/{table} of the partition spa/R2 first" in attempt.failure
    assert "Materialize tables/laps, tables/cars, " in made.materialize(R2, "lake/published").failure
    assert made.published == [R1]


def test_no_failure_names_a_command(made: LakeRuns) -> None:
    texts = [made.materialize(R2, *step).failures.popitem()[1]["text"] for step in STEPS[1:]]
    texts += [made.materialize("nowhere/R9", *step).failures.popitem()[1]["text"] for step in STEPS]
    assert [text for text in texts if "apex " in text or "Run " in text] == []


def test_tables_are_never_derived_from_files_other_than_the_recorded_ones(made: LakeRuns) -> None:
    before = made.session(R1)
    made.race(R1, laps=6)
    assert made.materialize(R1, "lake/files")
    attempt = made.materialize(R1, *STEPS[2])
    assert "is not the file that the session spa/R1 was recorded with" in attempt.failure
    assert "Materialize the asset lake/session of the partition spa/R1 again" in attempt.failure
    assert made.session(R1) == before
    # Publishing what was published from the recorded files changes nothing.
    assert made.materialize(R1, "lake/published")
    assert made.session(R1) == before
    assert made.materialize(R1, "lake/session")
    attempt = made.materialize(R1, "lake/published")
    assert "has not been derived from its present files" in attempt.failure
    assert made.session(R1) == before


def test_a_raw_file_that_is_gone_from_the_lake_fails_by_name(made: LakeRuns) -> None:
    made.store.delete(raw_key(LAP_FILE))
    attempt = made.materialize(R1, *STEPS[3])
    assert f"{LAP_FILE}, a file of the session spa/R1, is missing" in attempt.failure
    assert made.rows(R1)["laps"] == 8


def test_a_failure_of_one_step_stops_those_behind_it_and_keeps_what_is_published(
    made: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MalformedFileError("R1_telemetry.csv is damaged.", "Export it again.")

    before = made.session(R1)
    made.race(R1, laps=5)
    monkeypatch.setattr("apex_pipeline.orchestration.assets.gr_cup.derive_telemetry", fail)
    attempt = made.run(SESSION_JOB, R1)
    assert list(attempt.failures) == ["telemetry"]
    assert attempt.failure == "R1_telemetry.csv is damaged. Export it again."
    assert "tables/laps" in attempt.made
    assert "lake/published" not in attempt.made
    assert made.session(R1) == before


# -- a part of a step -----------------------------------------------------------------------------------------------


def test_a_single_table_is_materialized_and_checked_alone(made: LakeRuns) -> None:
    attempt = made.materialize(R1, "tables/cars")
    assert list(attempt.made) == ["tables/cars"]
    assert list(attempt.checks) == ["cars.matches_schema"]


def test_a_single_table_counts_as_derived_and_the_others_of_its_step_do_not(made: LakeRuns) -> None:
    for step in STEPS[:3]:
        assert made.materialize(R2, *step)
    assert made.materialize(R2, "tables/cars")
    assert "Materialize tables/laps" in made.materialize(R2, "lake/published").failure
    assert made.materialize(R2, "tables/laps", "tables/lap_rejects")
    for step in STEPS[4:]:
        assert made.materialize(R2, *step)
    assert made.rows(R2)["laps"] == 8


# -- several sources ---------------------------------------------------------------------------------------------------


@pytest.fixture
def two_sources(monkeypatch: pytest.MonkeyPatch, lake: LakeRuns) -> LakeRuns:
    """A lake with a session of the cars, one of pit stops, and one of both."""
    monkeypatch.setattr(sources, "_registered", [PitStops()])
    lake.race("spa/R1")
    lake.write("monza/R1", {"pit_stops.csv": "car,lap,stop_s\n7,3,31.5\n"})
    lake.race("spa/R2")
    lake.write("spa/R2", {"pit_stops.csv": "car,lap,stop_s\n7,3,31.5\n8,3,31.5\n"})
    lake.home()
    return lake


def test_a_session_is_published_with_the_tables_of_its_own_sources(two_sources: LakeRuns) -> None:
    two_sources.sync()
    assert set(two_sources.rows("monza/R1")) == {PIT_STOPS.name}
    assert PIT_STOPS.name not in two_sources.rows("spa/R1")
    assert two_sources.rows("spa/R2")[PIT_STOPS.name] == 2
    assert two_sources.rows("spa/R2")["laps"] == 8


def test_a_table_of_a_source_without_files_in_the_session_is_noted_and_not_written(two_sources: LakeRuns) -> None:
    two_sources.sync()
    attempt = two_sources.materialize("spa/R1", "tables/pit_stops")
    assert attempt.made == {"tables/pit_stops": {"note": "The session has no file of the source pit_stops."}}
    check = attempt.checks["pit_stops.matches_schema"]
    assert check.passed
    assert check.description == "Nothing to check: The session has no file of the source pit_stops."
    assert PIT_STOPS.name not in two_sources.rows("spa/R1")


# -- handed over by a sync ---------------------------------------------------------------------------------------------


def test_a_run_uses_the_work_that_a_sync_hands_over(lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.race(R1)
    lake.write("points", {"standings.csv": "a,b\n1,2\n"})
    found = discover(lake.store, lake.settings, scan_folder(lake.source), open_digest_cache(lake.settings))
    monkeypatch.setattr("apex_pipeline.orchestration.assets._discovery.discover", None)
    lake.instance.add_dynamic_partitions("sessions", [R1])
    with prepared(work_of(parse_session_key(R1), found)):
        assert lake.run(SESSION_JOB, R1)
    with prepared(unassigned_work_of(found)):
        attempt = lake.run(CATALOG_JOB)
    assert attempt.made["lake/unassigned_files"]["copied"] == 1
    assert lake.rows(R1)["laps"] == 8


# -- bookkeeping -------------------------------------------------------------------------------------------------------


def test_a_session_takes_seven_steps_and_one_evaluation_per_check(made: LakeRuns) -> None:
    attempt = made.run(SESSION_JOB, R2)
    steps = [event.step_key for event in attempt.result.all_events if event.is_step_success]
    assert len(steps) == len(STEPS)
    evaluations = attempt.result.get_asset_check_evaluations()
    assert len(evaluations) == len(attempt.checks)
    assert {evaluation.partition for evaluation in evaluations} == {R2}


def test_a_materialization_repeats_no_column_that_its_definition_has(made: LakeRuns) -> None:
    facts = made.run(SESSION_JOB, R2).made
    assert [asset for asset, metadata in facts.items() if "dagster/column_schema" in metadata] == []


def test_a_channel_of_its_own_shows_in_the_columns_of_the_materialization(made: LakeRuns) -> None:
    file = made.source / "spa" / "R2_telemetry.csv"
    file.write_text(file.read_text().replace(",speed,", ",tyre_temp,"))
    columns = made.run(SESSION_JOB, R2).made["tables/telemetry"]["dagster/column_schema"].columns
    assert "tyre_temp" in [column.name for column in columns]


def test_every_step_has_a_data_version_that_only_content_changes(made: LakeRuns) -> None:
    first, again = made.run(SESSION_JOB, R2).versions, made.run(SESSION_JOB, R2).versions
    assert len(first) == sum(map(len, STEPS))
    assert again == first
    made.race(R2, laps=5)
    changed = made.run(SESSION_JOB, R2).versions
    unchanged = {asset for asset in first if changed[asset] == first[asset]}
    assert unchanged == {
        f"tables/{name}"
        for name in (
            "official_points",
            "results",
            "weather",
            "official_rejects",
            "lap_rejects",
            "telemetry_rejects",
        )
    }


# -- files without a session -------------------------------------------------------------------------------------------


def test_a_file_without_a_session_is_copied_and_recorded(made: LakeRuns) -> None:
    made.write("points", {"standings.csv": "a,b\n1,2\n"})
    attempt = made.run(CATALOG_JOB)
    assert attempt.made["lake/unassigned_files"]["copied"] == 1
    assert attempt.checks["unassigned_files.all_copied"].passed
    assert raw_key("points/standings.csv") in made.objects()
    assert made.run(CATALOG_JOB).made["lake/unassigned_files"]["copied"] == 0


def test_a_file_without_a_session_that_cannot_be_copied_does_not_stop_the_roll_ups(
    made: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.write("points", {"standings.csv": "a,b\n1,2\n", "other.csv": "c,d\n"})
    found = discover(made.store, made.settings, scan_folder(made.source), open_digest_cache(made.settings))
    (made.source / "points" / "standings.csv").unlink()
    monkeypatch.setattr("apex_pipeline.orchestration.assets.lake_files.MOST_RETRIES", 0)
    with prepared(unassigned_work_of(found)):
        attempt = made.run(CATALOG_JOB)
    assert attempt, attempt.failures
    check = attempt.checks["unassigned_files.all_copied"]
    assert not check.passed
    assert "points/standings.csv" in str(check.description)
    assert raw_key("points/other.csv") in made.objects()
    files = _roll_up(made, "files")
    assert "points/other.csv" in files["path"].to_pylist()
    assert "points/standings.csv" not in files["path"].to_pylist()


def _roll_up(lake: LakeRuns, name: str) -> pa.Table:
    return pq.ParquetFile(Path(lake.store.uri, "catalog", f"{name}.parquet")).read()
