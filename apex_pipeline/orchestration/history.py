"""Keeps the history in a Dagster home small: removes runs whose results were replaced long ago, and unused space.

A run is removed only if each of its assets was materialized and each of its checks evaluated again since, and it is not
the last of its job and session: what the UI shows of the present never changes. See ``history_jobs.py`` for the nightly
job.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster import AssetRecordsFilter, DagsterRun, DagsterRunStatus, RunsFilter
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from apex_pipeline.orchestration.home_databases import (
    compact,
    history_bytes,
    remove_leftovers,
    run_database,
    uncompacted_runs,
)
from apex_pipeline.orchestration.kept_databases import KeptEventLog, OneEventLog

_PARTITION_TAG = "dagster/partition"
_FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
# Removed at once, so that one pruning takes about a minute; the next continues. Runs are read a page at a time, and no
# other is looked at once this many are found: to look at a run is to open its database.
_MOST_RUNS, _PAGE = 1_000, 100
# A tick of a sensor ends within 60 s, and has other things to do.
_LONGEST_S, _SETTLED_S = 5.0, 60.0
# A pruning takes about a minute anyway.
_PRUNING_S = 60.0
_OF_ALL_RUNS = ("history/runs/index.db", "history/runs.db")
# A sync prunes at most this often.
_BETWEEN = timedelta(days=1)
_MARK = ".pruned"
# What a run that succeeded repeats: an output of a step is a materialization or the result of a check, what was planned
# was made or evaluated, and resources were there. That is two fifths of what is stored of it.
_REPETITIONS = "('STEP_OUTPUT', 'ASSET_CHECK_EVALUATION_PLANNED', 'RESOURCE_INIT_STARTED', 'RESOURCE_INIT_SUCCESS')"
# The pages of assets look for planned materializations in the database of all runs, so these stay where it is the only
# one.
_SPENT_IN_ONE_LOG = text(f"DELETE FROM event_logs WHERE run_id = :run_id AND dagster_event_type IN {_REPETITIONS}")  # noqa: S608  -- a constant
_UNCOMPACTED_IN_ONE_LOG = text(
    f"SELECT DISTINCT run_id FROM event_logs AS spent WHERE dagster_event_type IN {_REPETITIONS} "  # noqa: S608  -- as above
    "AND EXISTS (SELECT 1 FROM event_logs AS ended WHERE ended.run_id = spent.run_id "
    "AND ended.dagster_event_type = 'PIPELINE_SUCCESS' AND ended.timestamp < :settled)"
)
_SPENT = text(
    f"DELETE FROM event_logs WHERE run_id = :run_id AND (dagster_event_type IN {_REPETITIONS} "  # noqa: S608  -- as above
    # One that was planned and not made stays: the page of the run names it.
    "OR (dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED' AND EXISTS (SELECT 1 FROM event_logs made "
    "WHERE made.dagster_event_type = 'ASSET_MATERIALIZATION' AND made.asset_key = event_logs.asset_key)))"
)
# Of the results of checks, the database of all runs has two copies. Dagster reads the one in the table of results, and
# that of the run for its page; nothing reads this one where each run has a database of its own.
_SECOND_COPIES = text(
    "DELETE FROM event_logs WHERE run_id = :run_id "
    "AND dagster_event_type IN ('ASSET_CHECK_EVALUATION', 'ASSET_CHECK_EVALUATION_PLANNED')"
)
# The run with the latest result of each check and session; where a check was planned and not reached, an earlier one.
_NEWEST_CHECKS = text(
    "SELECT DISTINCT run_id FROM asset_check_executions WHERE id IN (SELECT max(id) FROM asset_check_executions "
    "WHERE execution_status IN ('SUCCEEDED', 'FAILED') GROUP BY asset_key, check_name, \"partition\")"
)


@dataclass(frozen=True)
class Pruned:
    """What a pruning did.

    Attributes:
        runs: Number of runs removed.
        kept: Number of older runs that were looked at and are still needed.
        bytes_before: Size of the databases before; ``None`` if they are not in the home, as with Postgres.
        bytes_after: Their size afterwards.
        compacted: Number of runs of the daemon and the UI that were rewritten without repetitions and unused space.
        is_complete: Whether every older run was looked at; otherwise as many were removed as are at once.
    """

    runs: int
    kept: int
    bytes_before: int | None
    bytes_after: int | None
    compacted: int = 0
    is_complete: bool = True


def prune(instance: dg.DagsterInstance, keep: timedelta) -> Pruned:
    """Remove runs that ended, are older than ``keep``, and whose results were all replaced since."""
    home = Path(instance.root_directory)
    before = history_bytes(home)
    newest = _Newest(instance)
    # Complete before the first is removed: a page begins after the last run of the one before, which has to be there.
    removed, kept = _replaced(_older_than(instance, datetime.now(UTC) - keep), newest)
    for run in removed:
        _remove(instance, run.run_id)
    remove_leftovers(home)
    compacted = compact_finished_runs(instance, _PRUNING_S)
    if removed and before is not None:
        for database in _OF_ALL_RUNS:
            compact(home / database, keep_pages=True)
    (home / _MARK).touch()
    is_complete = len(removed) < _MOST_RUNS
    return Pruned(len(removed), kept, before, history_bytes(home), compacted, is_complete=is_complete)


def prune_if_due(instance: dg.DagsterInstance, keep: timedelta) -> Pruned | None:
    """Prune unless that was done within the last day; a home that only syncs use has no nightly job."""
    mark = Path(instance.root_directory, _MARK)
    last = mark.stat().st_mtime if mark.exists() else 0.0
    return prune(instance, keep) if datetime.now(UTC).timestamp() - last > _BETWEEN.total_seconds() else None


def compact_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Shrink what is stored of a finished run: half of its database is unused space, if it has one of its own.

    One that succeeded loses events whose facts others repeat, too; of one that failed, every event may explain why.
    """
    database = run_database(Path(instance.root_directory), run_id)
    has_own = database.is_file()
    if not has_own and not isinstance(instance.event_log_storage, OneEventLog):
        return  # in Postgres, the one copy of an event serves all pages
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status is DagsterRunStatus.SUCCESS:
        _remove_repetitions(instance, run_id, has_own=has_own)
    if has_own:
        _close(instance, run_id)
        compact(database)


def compact_finished_runs(instance: dg.DagsterInstance, longest_s: float = _LONGEST_S) -> int:
    """Do so for the runs that ended, whoever started them, and return their number.

    A run cannot do it itself: its last events are written after its last step. Those that ended less than a minute ago
    are left for the next time, as Dagster may still write why it retries them.

    Args:
        instance: The Dagster instance.
        longest_s: No other run is begun after this many seconds; one takes about 30 ms.
    """
    end_s, compacted = time.monotonic() + longest_s, 0
    for run_id in _uncompacted(instance):
        if time.monotonic() > end_s:
            break
        compact_run(instance, run_id)
        compacted += 1
    return compacted


def _uncompacted(instance: dg.DagsterInstance) -> Iterator[str]:
    """Yield the runs that ended a minute ago or longer, and were not compacted."""
    for run_id, written_s in uncompacted_runs(Path(instance.root_directory)):
        run = instance.get_run_by_id(run_id) if time.time() - written_s > _SETTLED_S else None
        if run is not None and run.is_finished:
            yield run_id
    if isinstance(instance.event_log_storage, OneEventLog):
        settled = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=_SETTLED_S)  # as Dagster stores times
        with _index(instance) as connection:
            found = connection.execute(_UNCOMPACTED_IN_ONE_LOG, {"settled": settled.isoformat(" ")}).scalars().all()
        yield from found


def _remove_repetitions(instance: dg.DagsterInstance, run_id: str, *, has_own: bool) -> None:
    """Remove them from all databases; they stay if another process holds one, because that only costs space.

    Dagster itself can only delete all events of a run.
    """
    with suppress(SQLAlchemyError):
        if not has_own:
            with _index(instance) as connection:
                connection.execute(_SPENT_IN_ONE_LOG, {"run_id": run_id})
            return
        with instance.event_log_storage.run_connection(run_id) as connection:  # type: ignore[attr-defined]  -- of SQLite
            connection.execute(_SPENT, {"run_id": run_id})
        with _index(instance) as connection:
            connection.execute(_SECOND_COPIES, {"run_id": run_id})


class _Newest:
    """The newest run of each job, of each asset and of each check, by session, each looked up once."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._by_job: dict[tuple[str, str | None], str] = {}
        self._by_asset: dict[tuple[dg.AssetKey, str | None], str] = {}
        with _index(instance) as connection:
            self._of_checks = frozenset(connection.execute(_NEWEST_CHECKS).scalars())

    def needs(self, run: DagsterRun) -> bool:
        """Return whether a run has something that no later one has replaced."""
        if run.run_id in self._of_checks or self._of_job(run.job_name, run.tags.get(_PARTITION_TAG)) == run.run_id:
            return True
        records = self._instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        made = [record.event_log_entry.asset_materialization for record in records.records]
        return any(self._of_asset(event.asset_key, event.partition) == run.run_id for event in made if event)

    def _of_job(self, job: str, partition: str | None) -> str:
        key = (job, partition)
        if key not in self._by_job:
            tags = {_PARTITION_TAG: partition} if partition else {}
            (record,) = self._instance.get_run_records(RunsFilter(job_name=job, tags=tags), limit=1)
            self._by_job[key] = record.dagster_run.run_id
        return self._by_job[key]

    def _of_asset(self, asset: dg.AssetKey, partition: str | None) -> str:
        key = (asset, partition)
        if key not in self._by_asset:
            partitions = [partition] if partition else None
            found = self._instance.fetch_materializations(AssetRecordsFilter(asset, partitions), limit=1)
            self._by_asset[key] = found.records[0].run_id if found.records else ""
        return self._by_asset[key]


def _replaced(runs: Iterator[DagsterRun], newest: _Newest) -> tuple[list[DagsterRun], int]:
    """Return the first runs that are not needed, as many as are removed at once, and the number of needed ones."""
    replaced: list[DagsterRun] = []
    kept = 0
    for run in runs:
        if newest.needs(run):
            kept += 1
            continue
        replaced.append(run)
        if len(replaced) == _MOST_RUNS:
            break
    return replaced, kept


def _older_than(instance: dg.DagsterInstance, limit: datetime) -> Iterator[DagsterRun]:
    wanted, cursor = RunsFilter(statuses=_FINISHED, created_before=limit), None
    while True:
        records = instance.get_run_records(wanted, limit=_PAGE, cursor=cursor, ascending=True)
        yield from (record.dagster_run for record in records)
        if len(records) < _PAGE:
            return
        cursor = records[-1].dagster_run.run_id


def _remove(instance: dg.DagsterInstance, run_id: str) -> None:
    with suppress(NotImplementedError):  # a log manager without files has none to delete
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.delete_run(run_id)
    # Dagster leaves the results of checks of a deleted run behind, a sixth of what it wrote.
    with _index(instance) as connection:
        connection.execute(text("DELETE FROM asset_check_executions WHERE run_id = :run_id"), {"run_id": run_id})
    _close(instance, run_id)
    for ending in ("", "-wal", "-shm"):
        database = run_database(Path(instance.root_directory), run_id)
        database.with_name(database.name + ending).unlink(missing_ok=True)


def _close(instance: dg.DagsterInstance, run_id: str) -> None:
    if isinstance(instance.event_log_storage, KeptEventLog):
        instance.event_log_storage.close_run(run_id)


def _index(instance: dg.DagsterInstance) -> AbstractContextManager[Connection]:
    """Return a connection to the database of the events of all runs."""
    return instance.event_log_storage.index_connection()  # type: ignore[attr-defined]  -- of every SQL storage
