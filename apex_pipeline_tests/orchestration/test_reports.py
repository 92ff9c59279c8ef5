"""The asset ``reports/session``: the file it writes, when nothing is written, and when its sensor asks for it."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from apex_pipeline.cli.report import report_command
from apex_pipeline.errors import LeaseLostError
from apex_pipeline.lake.forget import plan_removal, remove
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.orchestration.assets.reports import REPORT_KEY
from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.orchestration.job_names import CATALOG_JOB, FIND_JOB, REPORT_JOB, SESSION_JOB
from apex_pipeline.reports.stored_report import store_report
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import object_key, report_key
from apex_pipeline.tables.session_key import parse_session_key
from apex_pipeline_tests.orchestration.lake_copies import copied, made_once
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.shared_lakes import SyncedLake

R1, R2 = "spa/R1", "spa/R2"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeRuns]:
    with made_once(LakeRuns, tmp_path_factory) as lake:
        lake.race(R1)
        lake.race(R2)
        assert lake.run(FIND_JOB)
        assert lake.run(SESSION_JOB, R1)
        assert lake.run(CATALOG_JOB)
        yield lake


@pytest.fixture
def made(original: LakeRuns, tmp_path: Path) -> Iterator[LakeRuns]:
    """A lake with two sessions, of which one is published; it has no report yet."""
    with copied(original, tmp_path) as lake:
        yield lake


def _reports(lake: LakeRuns) -> dict[str, bytes]:
    return {item.key: lake.store.read_bytes(item.key) for item in lake.store.list("reports/")}


def test_it_is_the_file_that_the_command_writes(made: LakeRuns, tmp_path: Path) -> None:
    attempt = made.run(REPORT_JOB, R1)
    assert attempt, attempt.failures
    report_command("spa", "R1", out=tmp_path / "R1.html", lake=made.store.uri)
    assert _reports(made) == {report_key(R1): (tmp_path / "R1.html").read_bytes()}
    assert verify_lake(made.store, is_deep=True).wrong == ()
    assert verify_lake(made.store).notes == ()


def test_every_session_of_the_demo_lake_has_one_that_is_as_the_command_writes_it(
    demo_lake: SyncedLake, tmp_path: Path
) -> None:
    shutil.copytree(demo_lake.store.uri, tmp_path / "lake")
    settings = load_settings(lake_dir=tmp_path / "lake", state_dir=tmp_path / "state")
    lacking: dict[str, str] = {}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sessions", list(map(str, demo_lake.catalog.snapshot.keys)))
        job = build_definitions(settings).resolve_job_def(REPORT_JOB)
        for key in demo_lake.catalog.snapshot.keys:
            result = job.execute_in_process(instance=instance, partition_key=str(key))
            (made,) = result.asset_materializations_for_node("reports__session")
            lacking[str(key)] = str(made.metadata["lacking_data"].value)
            report_command(*key, out=tmp_path / "page.html", lake=str(settings.lake_dir))
            written = open_store(settings, for_writing=False).read_bytes(report_key(str(key)))
            assert written == (tmp_path / "page.html").read_bytes()
    assert set(lacking.values()) == {"Traces, Map"}


def test_its_page_says_what_is_in_it_and_what_is_not(made: LakeRuns) -> None:
    facts = made.run(REPORT_JOB, R1).made["reports/session"]
    (page,) = _reports(made).values()
    assert (facts["cars"], facts["laps"], facts["bytes"]) == (2, 8, len(page))
    assert facts["dagster/uri"] == made.store.uri_of(report_key(R1))
    assert facts["lacking_data"] == "Result, Lap chart, Gaps, Traces, Map, Weather"
    assert facts["parts_lacking_data"] == 6
    assert "Best lap: 1:37.500 by #" in facts["preview"]
    assert str(facts["snapshot"]) in page.decode()


def test_what_is_published_later_replaces_it_and_the_same_again_does_not_change_it(made: LakeRuns) -> None:
    versions = [made.run(REPORT_JOB, R1).versions, made.run(REPORT_JOB, R1).versions]
    assert versions[0] == versions[1]
    before = _reports(made)
    made.race(R1, laps=6)
    assert made.run(SESSION_JOB, R1)
    assert _reports(made) == before
    assert made.run(REPORT_JOB, R1).made["reports/session"]["laps"] == 12
    assert _reports(made).keys() == before.keys()
    assert _reports(made) != before


def test_a_session_that_is_not_published_has_none(made: LakeRuns) -> None:
    attempt = made.run(REPORT_JOB, R2)
    assert "The session spa/R2 is not published." in attempt.failure
    assert _reports(made) == {}


def test_a_failure_leaves_the_former_one(made: LakeRuns) -> None:
    assert made.run(REPORT_JOB, R1)
    before = _reports(made)
    laps = made.session(R1).tables["laps"]
    made.store.write_bytes(object_key(laps.sha256), b"damaged")
    made.store.delete(laps.key)
    attempt = made.run(REPORT_JOB, R1)
    assert not attempt
    assert "laps" in attempt.failure
    assert _reports(made) == before


def test_a_forgotten_session_has_none_and_no_run_brings_it_back(made: LakeRuns) -> None:
    assert made.run(REPORT_JOB, R1)
    remove(made.store, plan_removal(made.store, R1, made.settings), datetime.now(UTC), lambda _: None)
    assert _reports(made) == {}
    assert "is not published" in made.run(REPORT_JOB, R1).failure
    assert _reports(made) == {}


def test_a_process_that_lost_the_session_while_it_drew_writes_nothing(made: LakeRuns) -> None:
    def lost() -> None:
        raise LeaseLostError("Another process works on it.", "Run it again.")

    with pytest.raises(LeaseLostError):
        store_report(made.store, parse_session_key(R1), made.settings, lost)
    assert _reports(made) == {}


# -- the sensor --------------------------------------------------------------------------------------------------------


class _Ticks:
    """Simulated ticks of the sensor on the real definitions; what is requested is not executed."""

    def __init__(self, lake: LakeRuns) -> None:
        self._lake = lake
        self._cursor: Any = None

    def tick(self) -> set[str]:
        result = dg.evaluate_automation_conditions(
            self._lake.definitions,
            self._lake.instance,
            asset_selection=dg.AssetSelection.assets(REPORT_KEY),
            cursor=self._cursor,
        )
        self._cursor = result.cursor
        return {str(key) for key in result.get_requested_partitions(REPORT_KEY)}


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # a parameter of the function that simulates ticks
class TestSensor:
    def test_it_asks_for_each_session_that_is_published_from_now_on_once(self, made: LakeRuns) -> None:
        ticks = _Ticks(made)
        assert ticks.tick() == set()
        assert made.run(SESSION_JOB, R2)
        assert [ticks.tick(), ticks.tick()] == [{R2}, set()]

    def test_it_asks_again_for_what_was_published_while_the_report_was_made(self, made: LakeRuns) -> None:
        ticks = _Ticks(made)
        ticks.tick()
        assert made.run(SESSION_JOB, R1)
        assert ticks.tick() == {R1}
        assert made.run(SESSION_JOB, R1)  # too late for the run that was requested
        assert made.run(REPORT_JOB, R1)
        assert [ticks.tick(), ticks.tick()] == [{R1}, set()]

    def test_it_does_not_repeat_what_failed(self, made: LakeRuns) -> None:
        ticks = _Ticks(made)
        ticks.tick()
        assert made.run(SESSION_JOB, R1)
        assert ticks.tick() == {R1}
        laps = made.session(R1).tables["laps"]
        made.store.delete(object_key(laps.sha256))
        made.store.delete(laps.key)
        assert not made.run(REPORT_JOB, R1)
        assert [ticks.tick(), ticks.tick()] == [set(), set()]
