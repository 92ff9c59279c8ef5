"""The roll-ups are made from the session records, come last, and nothing is derived from them."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.lake.records import read_record, write_record
from apex_pipeline.lake.rollups import RECORD_MARKS, ROLL_UPS_LEASE, RULES_VERSION
from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB, FIND_JOB, SESSION_JOB
from apex_pipeline.sources import rules_version
from apex_pipeline.storage.leases import held
from apex_pipeline.tables.session_key import parse_session_key
from apex_pipeline_tests.orchestration.lake_copies import copied, made_once, replace_file
from apex_pipeline_tests.orchestration.lake_runs import ROLL_UPS, STEPS, LakeRuns

R1, R2 = "spa/R1", "spa/R2"


def roll_up(lake: LakeRuns, name: str) -> pa.Table:
    return pq.ParquetFile(Path(lake.store.uri, "catalog", f"{name}.parquet")).read()


def rules_in(lake: LakeRuns) -> str:
    return str((roll_up(lake, "files").schema.metadata or {})[RULES_VERSION.encode()].decode())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeRuns]:
    with made_once(LakeRuns, tmp_path_factory) as lake:
        lake.race(R1)
        lake.sync()
        yield lake


@pytest.fixture
def synced(original: LakeRuns, tmp_path: Path) -> Iterator[LakeRuns]:
    """A lake with one session in it and in its roll-ups."""
    with copied(original, tmp_path) as lake:
        yield lake


def test_the_roll_ups_list_the_files_tracks_and_sessions_of_the_records(synced: LakeRuns) -> None:
    assert len(roll_up(synced, "files")) == 3
    assert roll_up(synced, "tracks")["track"].to_pylist() == ["spa"]
    assert roll_up(synced, "sessions")["session"].to_pylist() == ["R1"]
    assert rules_in(synced) == rules_version(synced.settings)


def test_a_session_that_another_process_recorded_is_in_them_and_becomes_a_partition(synced: LakeRuns) -> None:
    synced.race(R2)
    other = LakeRuns(synced.source.parent)
    other.sync(R2)
    other.close()
    synced.store.delete("catalog/sessions.parquet")
    assert synced.partitions == [R1]
    attempt = synced.run(CATALOG_JOB)
    assert attempt, attempt.failures
    assert roll_up(synced, "sessions")["session"].to_pylist() == ["R1", "R2"]
    assert synced.partitions == [R1, R2]


def test_refreshing_makes_damaged_and_missing_roll_ups_again(synced: LakeRuns) -> None:
    before = {name: roll_up(synced, name) for name in ("files", "tracks", "sessions")}
    replace_file(Path(synced.store.uri, "catalog", "files.parquet"), b"not Parquet")
    synced.store.delete("catalog/tracks.parquet")
    assert synced.run(CATALOG_JOB)
    for name, table in before.items():
        assert roll_up(synced, name).equals(table)


def test_the_manifest_names_the_snapshot_and_counts_sessions_and_rows(synced: LakeRuns) -> None:
    facts = synced.run(CATALOG_JOB).made["catalog/manifest"]
    assert facts["sessions"] == 1
    assert facts["rows"] == sum(synced.rows(R1).values())
    assert facts["snapshot"] == synced.run(SESSION_JOB, R1).made["lake/published"]["snapshot"]


def test_a_manifest_of_an_empty_lake_fails_and_the_roll_ups_do_not(lake: LakeRuns) -> None:
    attempt = lake.run(CATALOG_JOB)
    assert set(attempt.made) == {*ROLL_UPS, "lake/unassigned_files"}
    assert "Nothing is published in the lake" in attempt.failure


def test_nothing_but_the_roll_ups_themselves_reads_a_roll_up(synced: LakeRuns) -> None:
    before = synced.session(R1)
    for name in ("files", "tracks", "sessions"):
        replace_file(Path(synced.store.uri, "catalog", f"{name}.parquet"), b"not Parquet")
    for step in STEPS[2:]:
        assert synced.materialize(R1, *step)
    assert synced.session(R1) == before


def test_quarantined_files_have_their_reasons_in_the_lake(lake: LakeRuns) -> None:
    lake.race(R1)
    text = (lake.source / "spa" / "R1_lap_start.csv").read_text(encoding="utf-8")
    lake.write("monza", {"R7_lap_start.csv": text})
    lake.run(FIND_JOB)
    lake.materialize("monza/R7", "lake/files")
    lake.run(DERIVE_JOB, "monza/R7")
    record = read_record(lake.store, parse_session_key("monza/R7"))
    attempt = lake.run(CATALOG_JOB)
    quarantined = [key for key in lake.objects() if key.startswith("quarantine/")]
    assert attempt.made["catalog/files"]["quarantined"] == len(quarantined)
    assert (record is None) == (quarantined == [])


def test_a_refresh_waits_for_another_one(synced: LakeRuns) -> None:
    with ExitStack() as stack:
        stack.enter_context(held(synced.store, ROLL_UPS_LEASE, "refreshing"))
        released = threading.Event()

        def release() -> None:
            released.set()
            stack.close()

        timer = threading.Timer(1.0, release)
        timer.start()
        assert synced.run(CATALOG_JOB, assets=ROLL_UPS)
        assert released.is_set()
        timer.join()


# -- rules -------------------------------------------------------------------------------------------------------------


def _new_rules(lake: LakeRuns, text: str = "tracks: []\n") -> None:
    """Give the lake a user's own rules."""
    file = lake.source.parent / "tracks.yaml"
    file.write_text(text, encoding="utf-8")
    lake.settings = lake.settings.model_copy(update={"tracks_file": file})
    lake.home()


def test_new_rules_count_once_every_record_agrees_with_them(synced: LakeRuns) -> None:
    former = rules_in(synced)
    _new_rules(synced)
    assert rules_version(synced.settings) != former
    assert synced.run(CATALOG_JOB)
    assert rules_in(synced) == rules_version(synced.settings)


def test_rules_that_give_a_file_another_identity_do_not_count_before_it_is_recorded(synced: LakeRuns) -> None:
    former = rules_in(synced)
    key = parse_session_key(R1)
    record = read_record(synced.store, key)
    assert record is not None
    # As if the rules had been others when the session was recorded.
    files = tuple(replace(file, kind="lap_end" if file.kind == "lap_start" else file.kind) for file in record.files)
    write_record(synced.store, replace(record, files=files))
    _new_rules(synced)
    assert synced.run(CATALOG_JOB)
    assert rules_in(synced) == former
    assert synced.run(FIND_JOB)
    assert synced.run(SESSION_JOB, R1)
    assert synced.run(CATALOG_JOB)
    assert rules_in(synced) == rules_version(synced.settings)


def test_every_roll_up_with_records_marks_their_versions(synced: LakeRuns) -> None:
    for name in ("files", "sessions"):
        assert RECORD_MARKS.encode() in (roll_up(synced, name).schema.metadata or {})
