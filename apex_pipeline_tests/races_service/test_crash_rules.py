"""Crash rules on SQLite and PostgreSQL: nothing lost, nothing doubled, whatever dies and whenever."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import func, select, text, update

from apex_pipeline.errors import ApexError, ConfigurationError, SchemaViolationError, StoreUnavailableError
from apex_pipeline.races import process as process_module
from apex_pipeline.races.deletion import delete_race, find_orphans, remove_orphans
from apex_pipeline.races.errors import (
    AttemptLostError,
    EmptyUploadError,
    QueueUnavailableError,
    RaceNotFoundError,
    RaceNotReadyError,
    RaceTooLargeError,
)
from apex_pipeline.races.lap_data import lap_rows, lap_samples
from apex_pipeline.races.lap_files import LAP_FIELDS
from apex_pipeline.races.models import Lap, OutboxEntry, Race, RaceStatus
from apex_pipeline.races.outbox import dispatch
from apex_pipeline.races.process import process_race
from apex_pipeline.races.reaper import Reaped, reap
from apex_pipeline.races.services import RaceServices
from apex_pipeline.races.state import Published, claim, give_back, publish
from apex_pipeline.races.submit import submit_race
from apex_pipeline.races.views import list_race_ids, list_races, require_laps, view_race
from apex_pipeline_tests.races_service.conftest import LAP_TIMES_S, RememberingQueue, two_laps


def _objects(services: RaceServices) -> list[str]:
    return [item.key for prefix in ("races/", "tables/") for item in services.store.list(prefix)]


def _let_time_pass(services: RaceServices, seconds: float = 60) -> None:
    """Move every time of every race into the past."""
    with services.database.reading() as session:
        races = session.scalars(select(Race)).all()
    with services.database.writing() as session:
        for race in races:
            moved = {
                name: getattr(race, name) - timedelta(seconds=seconds)
                for name in ("heartbeat_at", "dispatched_at", "deleted_at")
                if getattr(race, name) is not None
            }
            if moved:
                session.execute(update(Race).where(Race.race_id == race.race_id).values(moved))


def _count(services: RaceServices, table: type) -> int:
    with services.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_an_upload_is_answered_in_processing_and_becomes_ready_with_the_right_laps(
    services: RaceServices, queue: RememberingQueue
) -> None:
    answer = submit_race(services, two_laps())
    assert answer.status == "Processing"
    assert queue.jobs == [(answer.race_id, answer.job_id)]
    assert services.store.read_bytes(f"races/{answer.race_id}/raw_data.deflate") == two_laps()
    outcome = process_race(services, answer.race_id)
    assert outcome.status == "Ready"
    view = view_race(services.database, answer.race_id)
    assert (view.status, view.laps_count, view.attempts) == ("Ready", outcome.laps, 1)
    assert view.created_at.endswith("Z")
    times = [row["lap_time_s"] for row in lap_rows(services, answer.race_id) if row["lap_time_s"]]
    assert times == pytest.approx(LAP_TIMES_S, abs=0.1)


def test_a_lap_is_a_plain_array_that_numpy_reads_without_pickle(services: RaceServices) -> None:
    race = submit_race(services, two_laps()).race_id
    process_race(services, race)
    lap = require_laps(services.database, race)[0]
    with services.store.open_as_file(f"races/{race}/laps/{lap.lap_uuid}.npy") as path:
        array = np.load(path)
    assert array.dtype.names == LAP_FIELDS
    assert len(LAP_FIELDS) == 14
    assert lap_samples(services, race, lap.lap_number)[1].num_rows == len(array) > 100


def test_the_selects_of_the_seed_run_as_written(services: RaceServices) -> None:
    race = submit_race(services, two_laps()).race_id
    process_race(services, race)
    with services.database.reading() as session:
        rows = session.execute(text("SELECT race_id, status, created_at FROM races;")).all()
        laps = session.execute(text("SELECT lap_uuid, race_id, lap_number FROM laps;")).all()
    assert [(str(row[0]), row[1]) for row in rows] == [(race, "Ready")]
    assert {str(row[1]) for row in laps} == {race}


def test_the_same_bytes_are_the_same_race_unless_forced(services: RaceServices) -> None:
    first = submit_race(services, two_laps())
    second = submit_race(services, two_laps())
    assert (second.race_id, second.duplicate_of) == (first.race_id, first.race_id)
    forced = submit_race(services, two_laps(), force=True)
    assert forced.race_id != first.race_id
    assert forced.duplicate_of is None
    assert sorted(list_race_ids(services.database)) == sorted([first.race_id, forced.race_id])


def test_of_eight_uploads_of_the_same_bytes_at_once_one_becomes_a_race(services: RaceServices) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(submit_race(services, two_laps()).race_id)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert len(list(services.store.list("races/"))) == 1


@pytest.mark.parametrize("size", [0, 1_000_001])
def test_an_upload_that_is_empty_or_too_large_registers_nothing(services: RaceServices, size: int) -> None:
    services = RaceServices(
        services.settings.model_copy(update={"max_race_mb": 1}), services.database, services.store, services.queue
    )
    with pytest.raises((EmptyUploadError, RaceTooLargeError)):
        submit_race(services, bytes(size))
    assert (_count(services, Race), _objects(services)) == (0, [])


def test_with_the_queue_away_nothing_is_half_registered(services: RaceServices, queue: RememberingQueue) -> None:
    queue.is_away = True
    with pytest.raises(QueueUnavailableError):
        submit_race(services, two_laps())
    assert (_count(services, Race), _count(services, OutboxEntry), _objects(services)) == (0, 0, [])


def test_a_crash_before_the_queue_leaves_the_race_in_the_outbox_and_the_reaper_goes_on(
    services: RaceServices, queue: RememberingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(race_id: str, job_id: str) -> None:
        raise SystemExit(f"killed before {race_id} {job_id}")

    with monkeypatch.context() as patch:
        patch.setattr(queue, "put", crash)
        with pytest.raises(SystemExit):
            submit_race(services, two_laps())
    assert (queue.jobs, _count(services, OutboxEntry)) == ([], 1)
    assert reap(services) == Reaped(dispatched=1, lost=0, deleted=0)
    assert len(queue.jobs) == 1
    assert reap(services).dispatched == 0


def test_a_crash_after_the_queue_and_before_the_commit_puts_it_twice_and_processes_it_once(
    services: RaceServices, queue: RememberingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = queue.put

    def put_and_crash(race_id: str, job_id: str) -> None:
        real(race_id, job_id)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(queue, "put", put_and_crash)
        with pytest.raises(SystemExit):
            submit_race(services, two_laps())
    dispatch(services.database, queue)
    assert len(queue.jobs) == 2
    outcomes = [process_race(services, race_id).status for race_id, _ in queue.jobs]
    assert outcomes == ["Ready", "skipped"]


def test_a_blob_without_a_row_is_an_orphan_after_a_day_and_a_registered_one_never(services: RaceServices) -> None:
    race = submit_race(services, two_laps()).race_id
    orphan = f"races/{uuid4()}/raw_data.deflate"
    services.store.write_bytes(orphan, b"cut off before its row")
    now = max(item.modified_utc for item in services.store.list("races/"))
    later = now + timedelta(days=2)
    assert find_orphans(services, timedelta(days=1), now + timedelta(hours=1)) == []
    assert [item.key for item in find_orphans(services, timedelta(days=1), later)] == [orphan]
    assert view_race(services.database, race).status == "Processing"
    remove_orphans(services, find_orphans(services, timedelta(days=1), later))
    assert find_orphans(services, timedelta(days=1), later) == []
    assert services.store.read_bytes(f"races/{race}/raw_data.deflate") == two_laps()


def test_a_database_that_has_none_of_the_races_does_not_call_them_orphans(services: RaceServices) -> None:
    services.store.write_bytes(f"races/{uuid4()}/raw_data.deflate", b"of another database")
    with pytest.raises(ConfigurationError, match="has none of them"):
        find_orphans(services, timedelta(0), datetime.now(UTC) + timedelta(days=2))


def test_an_emptied_queue_loses_nothing(services: RaceServices, queue: RememberingQueue) -> None:
    race = submit_race(services, two_laps()).race_id
    _let_time_pass(services)
    assert reap(services).dispatched == 0  # it is waiting
    queue.jobs.clear()
    assert reap(services).dispatched == 1
    assert queue.jobs[0][0] == race
    assert view_race(services.database, race).job_id == queue.jobs[0][1]


def test_a_race_that_is_being_processed_is_not_taken_by_a_second_worker_nor_by_the_reaper(
    services: RaceServices, queue: RememberingQueue
) -> None:
    race = submit_race(services, two_laps()).race_id
    assert claim(services.database, race) is not None
    queue.jobs.clear()
    assert process_race(services, race).status == "skipped"
    assert reap(services).dispatched == 0


def test_a_dead_worker_is_replaced_and_its_late_result_is_not_published(
    services: RaceServices, queue: RememberingQueue
) -> None:
    race = submit_race(services, two_laps()).race_id
    dead = claim(services.database, race)
    assert dead is not None
    queue.jobs.clear()
    _let_time_pass(services)
    assert reap(services).dispatched == 1
    assert process_race(services, race).attempt == 2
    with pytest.raises(AttemptLostError):
        publish(services.database, dead, Published((), "1", ""))
    assert view_race(services.database, race).laps_count > 0


def test_a_race_at_which_three_workers_died_fails_and_the_same_upload_tries_again(
    services: RaceServices, queue: RememberingQueue
) -> None:
    race = submit_race(services, two_laps()).race_id
    for _ in range(3):
        assert claim(services.database, race) is not None
        _let_time_pass(services)
    queue.jobs.clear()
    assert reap(services) == Reaped(dispatched=0, lost=1, deleted=0)
    view = view_race(services.database, race)
    assert (view.status, view.error_class) == ("Failed", "worker lost")
    assert process_race(services, race).status == "skipped"
    again = submit_race(services, two_laps())
    assert (again.race_id, again.status) == (race, "Processing")
    assert process_race(services, race).status == "Ready"


def test_a_fault_of_the_store_is_tried_again_and_fails_at_the_third_attempt(
    services: RaceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("The store is away.", "Start it.")

    race = submit_race(services, two_laps()).race_id
    monkeypatch.setattr(process_module, "write_results", away)
    assert [process_race(services, race).status for _ in range(4)] == [
        "interrupted",
        "interrupted",
        "Failed",
        "skipped",
    ]
    view = view_race(services.database, race)
    assert (view.error_class, view.attempts) == ("store unavailable", 3)


def test_a_failed_attempt_removes_nothing_of_the_next_one(
    services: RaceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt begins as soon as the failure is recorded, before the failed one has returned."""
    race = submit_race(services, two_laps()).race_id
    real_fail, real_write = process_module.fail, process_module.write_results

    def written_and_away(*arguments: object) -> object:
        monkeypatch.setattr(process_module, "write_results", real_write)
        real_write(*arguments)  # type: ignore[arg-type]
        raise SchemaViolationError("The table is wrong.", "Report it.")

    def fail_and_process_again(*arguments: object) -> None:
        assert _objects(services) == [f"races/{race}/raw_data.deflate"]
        real_fail(*arguments)  # type: ignore[arg-type]
        assert process_race(services, race, again=True).status == "Ready"

    monkeypatch.setattr(process_module, "write_results", written_and_away)
    monkeypatch.setattr(process_module, "fail", fail_and_process_again)
    assert process_race(services, race).status == "Failed"
    assert view_race(services.database, race).status == "Ready"
    assert len(_objects(services)) > 1
    assert lap_samples(services, race, 1)[1].num_rows > 0


def test_a_store_that_is_away_does_not_keep_a_race_from_failing(
    services: RaceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("The store is away.", "Start it.")

    race = submit_race(services, b"no race").race_id
    monkeypatch.setattr(process_module, "remove_race_objects", away)
    assert process_race(services, race).status == "Failed"


def test_a_race_given_back_is_put_into_the_queue_again(services: RaceServices, queue: RememberingQueue) -> None:
    race = submit_race(services, two_laps()).race_id
    attempt = claim(services.database, race)
    assert attempt is not None
    give_back(services.database, attempt)
    queue.jobs.clear()
    _let_time_pass(services)
    assert reap(services).dispatched == 1


@pytest.mark.parametrize("blob", [b"not compressed at all", b"\x78\x9c", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_bytes_that_give_no_lap_fail_with_a_class_and_a_sentence(services: RaceServices, blob: bytes) -> None:
    race = submit_race(services, blob).race_id
    assert process_race(services, race).status == "Failed"
    view = view_race(services.database, race)
    assert view.status == "Failed"
    assert view.error_class
    assert view.error
    assert _objects(services) == [f"races/{race}/raw_data.deflate"]
    with pytest.raises(RaceNotReadyError, match="Failed"):
        require_laps(services.database, race)


def test_an_unexpected_error_fails_the_race_without_its_text(
    services: RaceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("Max Mustermann")

    race = submit_race(services, two_laps()).race_id
    monkeypatch.setattr(process_module, "read_recording", broken)
    assert process_race(services, race).status == "Failed"
    view = view_race(services.database, race)
    assert view.error_class == "internal error"
    assert "Mustermann" not in (view.error or "")


def test_processing_again_keeps_ids_and_links_and_a_failure_keeps_the_laps(
    services: RaceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = submit_race(services, two_laps()).race_id
    process_race(services, race)

    def rows() -> list[tuple[int, str, str]]:
        laps = require_laps(services.database, race)
        return [(lap.id, lap.lap_uuid, lap.processed_data_path) for lap in laps]

    before, objects = rows(), _objects(services)
    assert process_race(services, race, again=True).status == "Ready"
    assert (rows(), _objects(services)) == (before, objects)

    def broken(*_: object, **__: object) -> None:
        raise ValueError

    monkeypatch.setattr(process_module, "read_recording", broken)
    assert process_race(services, race, again=True).status == "Failed"
    assert (rows(), view_race(services.database, race).status) == (before, "Ready")


def test_a_deletion_leaves_no_row_and_no_object_and_may_be_repeated(services: RaceServices) -> None:
    race = submit_race(services, two_laps()).race_id
    process_race(services, race)
    assert delete_race(services, race)
    assert not delete_race(services, race)
    assert (_count(services, Race), _count(services, Lap), _objects(services)) == (0, 0, [])
    with pytest.raises(RaceNotFoundError):
        view_race(services.database, race)
    assert submit_race(services, two_laps()).duplicate_of is None


def test_a_deletion_that_was_cut_off_is_hidden_and_finished_by_the_reaper(
    services: RaceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = submit_race(services, two_laps()).race_id
    process_race(services, race)

    def away(*_: object) -> None:
        raise StoreUnavailableError("The store is away.", "Start it.")

    with monkeypatch.context() as patch:
        patch.setattr("apex_pipeline.races.deletion.remove_race_objects", away)
        with pytest.raises(StoreUnavailableError):
            delete_race(services, race)
    assert list_races(services.database) == []
    _let_time_pass(services, 120)
    assert reap(services).deleted == 1
    assert (_count(services, Race), _objects(services)) == (0, [])


def test_a_race_deleted_while_it_is_processed_leaves_nothing_behind(
    services: RaceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = submit_race(services, two_laps()).race_id
    real = process_module.write_results

    def write_after_deletion(*arguments: object) -> object:
        delete_race(services, race)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(process_module, "write_results", write_after_deletion)
    assert process_race(services, race).status == "skipped"
    assert (_count(services, Race), _objects(services)) == (0, [])


def test_a_worker_that_works_long_shows_that_it_lives(services: RaceServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "HEARTBEAT_S", 0.05)
    race = submit_race(services, two_laps()).race_id
    real, seen = process_module.read_recording, threading.Event()

    def slow(*arguments: object, **options: object) -> object:
        _let_time_pass(services)
        seen.wait(0.5)
        assert process_race(services, race).status == "skipped"
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(process_module, "read_recording", slow)
    assert process_race(services, race).status == "Ready"


def test_tables_are_made_once_by_ten_processes_that_start_together(database_url: str) -> None:
    from apex_pipeline.races.database import RaceDatabase  # noqa: PLC0415  -- here only

    problems: list[ApexError] = []

    def start() -> None:
        database = RaceDatabase(database_url)
        try:
            database.migrate()
        except ApexError as error:
            problems.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=start) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_races_are_listed_newest_first_and_by_status(services: RaceServices) -> None:
    first, second = (submit_race(services, two_laps(variant)).race_id for variant in (0, 1))
    process_race(services, first)
    assert list_race_ids(services.database) == [second, first]
    assert list_race_ids(services.database, limit=1, offset=1) == [first]
    assert [view.race_id for view in list_races(services.database, status=RaceStatus.READY)] == [first]
