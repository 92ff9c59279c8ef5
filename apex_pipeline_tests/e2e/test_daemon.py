"""A running Dagster keeps a lake up to date by itself: its daemon, its sensor, and nobody's hand.

The sensor is started as a user starts it, by one mutation of the UI. The order of the tests is the story of one lake.
"""

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apex_pipeline_tests.orchestration.dagster_server import DagsterServer, running_dagster
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.servers.s3_server import S3Bucket

R1, R2, OTHER = "spa/R1", "spa/R2", "monza/R1"
# One look every second, so that "nothing happens" is many looks within a few seconds.
_INTERVAL_S = 1
_QUIET_S = 20.0
# A run takes 5 CPU seconds to start, on machines that do other things as well.
_TIMEOUT_S = 420.0
_IDLE = "Everything is up to date."


class _Watched(LakeRuns):
    """A lake whose Dagster runs in other processes."""

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder, **settings)
        self.environment = {
            "APEX_SOURCE_DIR": str(self.settings.source_dir),
            "APEX_LAKE_DIR": str(self.settings.lake_dir),
            "APEX_STATE_DIR": str(self.settings.state_dir),
            "APEX_SENSOR_INTERVAL": str(_INTERVAL_S),
        }
        self.server: DagsterServer

    @property
    def runs(self) -> list[str]:
        """Every run so far, oldest first: its partition, or its job."""
        found = self.server.ask("{ runsOrError { ... on Runs { results { pipelineName tags { key value } } } } }")
        tags = [
            ({tag["key"]: tag["value"] for tag in run["tags"]}, run["pipelineName"])
            for run in found["runsOrError"]["results"]
        ]
        return [values.get("dagster/partition", job) for values, job in reversed(tags)]

    def idle(self) -> None:
        """Wait until the sensor says that everything is up to date, after a look that began from now on."""
        start = time.time()
        wait_for(lambda: self.server.last_tick("sync_source", since=start) == _IDLE)


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Watched]:
    """Three sessions that were dropped into a folder, and a Dagster with the sensor on."""
    with _running(_Watched(tmp_path_factory.mktemp("daemon"))) as lake:
        yield lake


@contextmanager
def _running(lake: _Watched) -> Generator[_Watched]:
    for key in (R1, R2, OTHER):
        lake.race(key)
    with running_dagster(lake.source.parent / "home", lake.environment) as server:
        lake.server = server
        server.start_sensor("sync_source")
        yield lake
    lake.close()


@pytest.mark.soak
def test_dropped_sessions_become_tables_checks_and_a_manifest(watched: _Watched) -> None:
    wait_for(lambda: watched.runs[-1:] == ["refresh_catalog"])
    watched.idle()
    assert sorted(watched.runs) == [OTHER, "refresh_catalog", R1, R2]
    assert watched.published == [OTHER, R1, R2]
    for asset in ("lake/published", "tables/laps", "tables/quality"):
        assert watched.server.materialized(asset) == [OTHER, R1, R2]
    assert "catalog/sessions.parquet" in watched.objects()


@pytest.mark.soak
def test_one_changed_byte_starts_only_its_session(watched: _Watched) -> None:
    before, others = len(watched.runs), [watched.session(key) for key in (R2, OTHER)]
    path = watched.source / "spa" / "R1_telemetry.csv"
    content = bytearray(path.read_bytes())
    position = content.rindex(b".") + 1
    content[position] = ord("1") if content[position] != ord("1") else ord("2")
    path.write_bytes(content)
    wait_for(lambda: len(watched.runs) >= before + 2)
    watched.idle()
    assert watched.runs[before:] == [R1, "refresh_catalog"]
    assert [watched.session(key) for key in (R2, OTHER)] == others


@pytest.mark.soak
def test_touching_and_looking_again_start_nothing(watched: _Watched) -> None:
    before = watched.runs
    for path in watched.source.rglob("*"):
        os.utime(path)
    time.sleep(_QUIET_S)
    watched.idle()
    assert watched.runs == before


@pytest.mark.soak
def test_the_same_file_with_other_content_runs_once(watched: _Watched) -> None:
    before = len(watched.runs)
    watched.race(R2, laps=6)
    wait_for(lambda: len(watched.runs) >= before + 2)
    watched.idle()
    time.sleep(_QUIET_S)
    assert watched.runs[before:] == [R2, "refresh_catalog"]
    assert watched.rows(R2)["laps"] == 12


@pytest.mark.soak
def test_a_half_written_file_waits_until_it_is_whole(watched: _Watched) -> None:
    before = len(watched.runs)
    watched.race("spa/R3", laps=5)
    path = watched.source / "spa" / "R3_telemetry.csv"
    whole = path.read_bytes()
    path.write_bytes(b"")
    end = time.monotonic() + _QUIET_S
    written = 0
    while time.monotonic() < end:  # it grows by a few bytes several times between two looks
        written = min(written + 8, len(whole) - 1)
        path.write_bytes(whole[:written] + str(time.monotonic_ns()).encode())
        time.sleep(0.1)
    assert "spa/R3" not in watched.runs[before:]
    path.write_bytes(whole)
    wait_for(lambda: "spa/R3" in watched.published)
    wait_for(lambda: watched.runs[-1] == "refresh_catalog")
    watched.idle()
    assert watched.rows("spa/R3")["laps"] == 10


@pytest.mark.soak
def test_deleting_a_session_removes_nothing(watched: _Watched) -> None:
    before, runs = watched.objects(), watched.runs
    for path in (watched.source / "monza").iterdir():
        path.unlink()
    time.sleep(_QUIET_S)
    watched.idle()
    assert watched.objects() >= before
    assert OTHER in watched.published
    assert OTHER in watched.server.materialized("lake/published")
    assert watched.runs == runs


@pytest.mark.soak
def test_in_a_bucket_dropped_and_changed_sessions_are_published_too(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_bucket.environment.items():
            patch.setenv(name, value)
        with _running(_Watched(tmp_path)) as watched:
            wait_for(lambda: watched.runs[-1:] == ["refresh_catalog"])
            watched.idle()
            assert watched.published == [OTHER, R1, R2]
            watched.race(R1, laps=6)
            before = len(watched.runs)
            wait_for(lambda: len(watched.runs) >= before + 2)
            watched.idle()
            assert watched.runs[before:] == [R1, "refresh_catalog"]
            assert watched.rows(R1)["laps"] == 12
