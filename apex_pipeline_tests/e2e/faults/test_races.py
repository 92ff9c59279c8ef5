"""Two syncs of one lake at once: whatever both report as done is published, and readers see whole states only."""

import signal

import pytest

from apex_pipeline_tests.e2e.faults.conftest import Races
from apex_pipeline_tests.e2e.faults.state import assert_whole, laps_of, misnamed_objects, published_sessions
from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.e2e.races import HARBOR_R1, MESA_R1

pytestmark = pytest.mark.soak

_PUBLICATION = "apex_pipeline.lake.publication"
_LIFETIMES = {"apex_pipeline.storage.leases:LIFETIME_S": 2.0}


def _other(machine: Machine, **constants: float) -> Machine:
    """Return another machine with the same lake."""
    return Machine(machine.folder.with_name(f"{machine.folder.name}-other"), machine.lake, constants)


@pytest.mark.parametrize(
    "place",
    [
        f"{_PUBLICATION}:swap_pointer",
        # The listing of the lake that it was given is from before the other sync.
        "apex_pipeline.orchestration.sync:plan_sync",
        pytest.param("apex_pipeline.ingest.session_work:replace_record", marks=pytest.mark.soak),
        pytest.param("apex_pipeline.orchestration.assets.lake_files:write_unassigned_work", marks=pytest.mark.soak),
        pytest.param("apex_pipeline.orchestration.assets.catalog:list_records", marks=pytest.mark.soak),
    ],
)
def test_sessions_of_two_syncs_at_once_are_all_published(machine: Machine, races: Races, place: str) -> None:
    other = _other(machine)
    held = machine.start("sync", races("source_a", HARBOR_R1), held=(place,))
    held.wait_until_held(place)
    running = other.start("sync", races("source_b", MESA_R1))
    # From here on it may wait for the other one to finish the roll-ups.
    running.wait_until_printed("derived and published")
    assert MESA_R1 in published_sessions(machine)
    held.let_go(place)
    for command in (held, running):
        ended = command.wait()
        assert (ended.code, ended.has_traceback) == (0, False), ended.out
    assert_whole(other, [HARBOR_R1, MESA_R1])


def test_of_two_syncs_of_one_session_the_second_waits_and_takes_over_when_the_first_is_killed(
    synced: Machine, races: Races
) -> None:
    other, place = _other(synced), "apex_pipeline.storage.local:LocalStore.copy~tables/laps"
    first = laps_of(synced, HARBOR_R1)
    held = synced.start("sync", races("second", version=2), held=(place,))
    held.wait_until_held(place)
    second = laps_of(synced, HARBOR_R1)
    waiting = other.start("sync", races("third", version=3))
    waiting.wait_until_printed("is being worked on by")
    assert laps_of(synced, HARBOR_R1) == second != first
    held.kill()
    ended = waiting.wait()
    assert ended.code == 0, ended.out
    assert laps_of(synced, HARBOR_R1) not in {first, second}
    assert_whole(other, [HARBOR_R1])


@pytest.mark.parametrize(
    "place",
    [
        f"{_PUBLICATION}:swap_pointer",
        pytest.param("apex_pipeline.orchestration.assets.published:publish_session", marks=pytest.mark.soak),
        pytest.param(f"{_PUBLICATION}:write_snapshot", marks=pytest.mark.soak),
        pytest.param(f"{_PUBLICATION}:write_stable_names", marks=pytest.mark.soak),
        pytest.param("apex_pipeline.storage.local:LocalStore.copy~tables/laps", marks=pytest.mark.soak),
        pytest.param(f"{_PUBLICATION}:clear_derived", marks=pytest.mark.soak),
        pytest.param("apex_pipeline.ingest.session_work:replace_record", marks=pytest.mark.soak),
        pytest.param("apex_pipeline.orchestration.assets._derivation:add_derived", marks=pytest.mark.soak),
    ],
)
def test_a_process_that_lost_its_lease_does_not_replace_what_the_taker_published(
    synced: Machine, races: Races, place: str
) -> None:
    stale = Machine(synced.folder, synced.lake, _LIFETIMES)
    other = _other(synced, **_LIFETIMES)
    held = stale.start("sync", races("second", version=2), held=(place,))
    held.wait_until_held(place)
    held.send(signal.SIGSTOP)
    other.sync(races("third", version=3))
    published = laps_of(other, HARBOR_R1)
    held.let_go(place)
    held.send(signal.SIGCONT)
    ended = held.wait()
    assert not ended.has_traceback, ended.out
    assert laps_of(other, HARBOR_R1) == published
    assert misnamed_objects(other) == []
    other.sync(races("third", version=3))
    assert laps_of(other, HARBOR_R1) == published
    assert_whole(other, [HARBOR_R1])
