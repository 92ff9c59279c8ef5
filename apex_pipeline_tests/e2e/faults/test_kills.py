"""A sync that is killed anywhere leaves nothing behind that stops the next one, or that a reader can see."""

import signal

import pytest

from apex_pipeline_tests.e2e.faults.conftest import Races
from apex_pipeline_tests.e2e.faults.state import assert_whole, laps_of, pointer_of
from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.e2e.races import HARBOR_R1, MESA_R1

pytestmark = pytest.mark.soak

_ASSETS = "apex_pipeline.orchestration.assets"
_ROLL_UP = f"{_ASSETS}.catalog:sync_quarantine"
_SWAP = "apex_pipeline.lake.publication:swap_pointer"
# One place in each stage, in the order of a sync: before anything was written, and between any two writes.
_PLACES = (
    "apex_pipeline.orchestration.sync:plan_sync",
    "apex_pipeline.ingest.session_work:copy_source_files",
    "apex_pipeline.storage.local:LocalStore.write_file~lap_start",
    "apex_pipeline.ingest.session_work:replace_record",
    f"{_ASSETS}._derivation:write_table_file~laps",
    f"{_ASSETS}._derivation:add_derived",
    f"{_ASSETS}.published:publish_session",
    "apex_pipeline.lake.publication:write_snapshot",
    _SWAP,
    "apex_pipeline.lake.publication:write_stable_names",
    "apex_pipeline.storage.local:LocalStore.copy~tables/laps",
    "apex_pipeline.lake.publication:clear_derived",
    _ROLL_UP,
    f"{_ASSETS}.catalog:roll_up_tables",
)


def test_after_a_kill_in_the_roll_up_step_the_next_sync_ends(machine: Machine, races: Races) -> None:
    source = races("source")
    killed = machine.start("sync", source, held=(_ROLL_UP,))
    killed.wait_until_held(_ROLL_UP)
    killed.kill()
    machine.sync(source)
    assert_whole(machine, [HARBOR_R1])


@pytest.mark.soak
def test_a_sync_killed_at_one_place_after_the_other_ends_as_if_it_had_never_been_killed(
    machine: Machine, races: Races, tmp_path: object
) -> None:
    source = races("source", HARBOR_R1, MESA_R1)
    reached: list[str] = []
    for place in _PLACES:
        killed = machine.start("sync", source, held=(place,))
        while killed.process.poll() is None and not killed.gates[place].with_suffix(".reached").exists():
            killed.process.poll()
        if killed.process.poll() is None:
            reached.append(place)
            killed.kill()
    machine.sync(source)
    assert_whole(machine, [HARBOR_R1, MESA_R1])
    assert len(reached) > len(_PLACES) / 2, reached


@pytest.mark.soak
@pytest.mark.parametrize("place", _PLACES)
def test_a_reader_sees_the_old_or_the_new_laps_wherever_the_sync_was_killed(
    synced: Machine, races: Races, place: str
) -> None:
    before, pointer = laps_of(synced, HARBOR_R1), pointer_of(synced)
    killed = synced.start("sync", races("next", version=2), held=(place,))
    killed.wait_until_held(place)
    killed.kill()
    after = laps_of(synced, HARBOR_R1)
    assert (after == before) == (pointer_of(synced) == pointer)
    synced.sync(races("next", version=2))
    assert laps_of(synced, HARBOR_R1) != before
    assert_whole(synced, [HARBOR_R1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_sync_that_is_asked_to_end_does_so_within_ten_seconds_and_the_next_one_finishes(
    machine: Machine, races: Races, number: signal.Signals, code: int
) -> None:
    source = races("source")
    place = "apex_pipeline.lake.publication:write_snapshot"
    asked = machine.start("sync", source, held=(place,))
    asked.wait_until_held(place)
    asked.send(number)
    ended = asked.wait(10)
    assert (ended.code, ended.has_traceback) == (code, False), ended.out
    machine.sync(source)
    assert_whole(machine, [HARBOR_R1])
