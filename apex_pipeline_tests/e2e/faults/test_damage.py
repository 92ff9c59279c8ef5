"""Damage on disk: what was published is read as it was or refused, and one sync heals the lake."""

from pathlib import Path

import pytest

from apex_pipeline_tests.e2e.faults.conftest import Races
from apex_pipeline_tests.e2e.faults.state import assert_whole, laps_of
from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.e2e.races import HARBOR_R1, MESA_R1

pytestmark = pytest.mark.soak


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _object_and_name(machine: Machine) -> tuple[Path, Path]:
    """Return the object of the laps and its stable name."""
    folder = machine.lake_folder / "tables" / "laps" / f"track={HARBOR_R1.track}" / f"session={HARBOR_R1.session}"
    (name,) = folder.glob("*.parquet")
    (found,) = (path for path in (machine.lake_folder / "objects").iterdir() if path.read_bytes() == name.read_bytes())
    return found, name


@pytest.mark.parametrize(
    "which",
    [
        pytest.param((0,), id="object", marks=pytest.mark.soak),
        pytest.param((1,), id="stable name", marks=pytest.mark.soak),
        pytest.param((0, 1), id="both"),
    ],
)
def test_a_damaged_table_is_made_again_while_another_session_is_added(
    synced: Machine, races: Races, which: tuple[int, ...]
) -> None:
    before = laps_of(synced, HARBOR_R1)
    for number in which:
        _flip(_object_and_name(synced)[number])
    source = races("source", HARBOR_R1, MESA_R1)
    synced.sync(source)
    assert laps_of(synced, HARBOR_R1) == before
    assert_whole(synced, [HARBOR_R1, MESA_R1])


def test_a_damaged_roll_up_is_made_again(synced: Machine, races: Races) -> None:
    roll_up = synced.lake_folder / "catalog" / "files.parquet"
    healthy = roll_up.read_bytes()
    roll_up.write_bytes(b"PAR1 not parquet")
    synced.sync(races("source"))
    assert len(roll_up.read_bytes()) == len(healthy)
    assert_whole(synced, [HARBOR_R1])
