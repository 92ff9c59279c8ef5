"""Tests of source folders that strangers hand over: each obstacle is refused by name, and the rest is done."""

import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from apex_pipeline_tests.e2e.faults.conftest import Races
from apex_pipeline_tests.e2e.faults.state import assert_whole, laps_of, pointer_of, published_sessions
from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.e2e.races import HARBOR_R1, MESA_R1

pytestmark = pytest.mark.soak

_HARBOR = "harbor_street_circuit"


def test_what_was_published_stays_if_one_of_the_new_files_cannot_be_copied(synced: Machine, races: Races) -> None:
    before, pointer = laps_of(synced, HARBOR_R1), pointer_of(synced)
    source = races("next", version=2)
    blocked = source / _HARBOR / "R1_harbor_lap_end.csv"
    content = blocked.read_bytes()
    folder = synced.lake_folder / "data" / _HARBOR / blocked.name
    # A folder in the place of the object: not even root can write there.
    old = folder.read_bytes()
    folder.unlink()
    (folder / "in the way").mkdir(parents=True)
    failed = synced.sync(source, expected=1)
    assert blocked.name in failed.out
    assert (laps_of(synced, HARBOR_R1), pointer_of(synced)) == (before, pointer)
    shutil.rmtree(folder)
    folder.write_bytes(old)
    assert blocked.read_bytes() == content
    synced.sync(source)
    assert laps_of(synced, HARBOR_R1) != before
    assert_whole(synced, [HARBOR_R1])


def test_a_lake_inside_its_source_is_left_out_and_settles(tmp_path: Path, races: Races) -> None:
    source = races("project", HARBOR_R1)
    machine = Machine(tmp_path / "machine", {"APEX_LAKE_DIR": str(source / "lake")})
    machine.sync(source)
    files = {path: path.stat().st_mtime_ns for path in source.rglob("*") if path.is_file()}
    again = machine.sync(source)
    assert "nothing changed" in again.out
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*") if path.is_file()} == files
    assert not (source / "lake" / "data" / "lake").exists()
    assert_whole(machine, [HARBOR_R1])


def test_a_symlink_loop_is_refused_by_name_and_the_rest_is_done(machine: Machine, races: Races) -> None:
    source = races("source")
    (source / "loop_a").symlink_to("loop_b")
    (source / "loop_b").symlink_to("loop_a")
    ended = machine.run("sync", source)
    assert ended.code in {0, 1}
    assert not ended.has_traceback
    assert "loop_a" in ended.out
    assert_whole(machine, [HARBOR_R1])


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare (util-linux)")
def test_a_full_disk_below_the_dagster_home_is_one_message(machine: Machine, races: Races) -> None:
    small = machine.folder / "small"
    small.mkdir()
    script = (
        f"mount -t tmpfs -o size=1500k none {small} && dd if=/dev/zero of={small}/fill bs=1k count=1300 2> /dev/null;"
        f' exec "$@"'
    )
    environment = machine.environment | {"DAGSTER_HOME": str(small / "home")}
    command = [sys.executable, "-m", "apex_pipeline", "sync", str(races("source"))]
    ended = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command],
        env=environment,
        cwd=machine.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "unshare" in ended.stderr or "mount:" in ended.stderr:
        pytest.skip(f"no mount namespaces here: {ended.stderr.strip()}")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Next step" in ended.stderr


def test_a_dagster_home_that_cannot_be_written_is_one_message(machine: Machine, races: Races) -> None:
    closed = machine.folder / "closed"
    closed.write_text("a file")
    ended = machine.run("sync", races("source"), DAGSTER_HOME=str(closed / "home"))
    assert (ended.code, ended.has_traceback) == (2, False), ended.out
    assert "Next step" in ended.out


@pytest.mark.soak
def test_a_gzip_bomb_is_set_aside_by_name_within_the_memory_limit(machine: Machine, races: Races) -> None:
    source = races("source", HARBOR_R1, MESA_R1)
    lap_file = source / _HARBOR / "R1_harbor_lap_start.csv"
    text = lap_file.read_bytes()
    chunk = text.splitlines(keepends=True)[1] * 200_000
    packed = gzip.compress(chunk, 6)
    with (source / _HARBOR / "R1_harbor_lap_start.csv.gz").open("wb") as bomb:
        bomb.write(gzip.compress(text))
        for _ in range(int(10e9 // len(chunk))):
            bomb.write(packed)
    lap_file.unlink()
    peak_before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    ended = machine.run("sync", source, APEX_MEMORY_LIMIT="1GB")
    peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert not ended.has_traceback, ended.out
    assert "R1_harbor_lap_start.csv.gz" in ended.out
    assert MESA_R1 in published_sessions(machine)
    assert peak_kb <= max(1_200_000, peak_before)


def test_a_closed_pipe_is_no_crash(synced: Machine) -> None:
    command = f'"{sys.executable}" -m apex_pipeline laps {HARBOR_R1.track} {HARBOR_R1.session} | head -1'
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=synced.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr


def test_a_copied_lake_is_not_copied_in_again(synced: Machine, races: Races, tmp_path: Path) -> None:
    for path in synced.lake_folder.rglob("*"):
        if path.is_file():
            os.utime(path)
    copied = Machine(tmp_path / "copy", {"APEX_LAKE_DIR": str(tmp_path / "copy" / "lake")})
    shutil.copytree(synced.lake_folder, copied.lake_folder)
    before = laps_of(copied, HARBOR_R1)
    ended = copied.run("sync", races("source"), "--json")
    assert ended.code == 0, ended.out
    facts = json.loads(ended.out[ended.out.index("{\n") :])
    assert (facts["copied"], facts["derived"]) == (0, [])
    assert laps_of(copied, HARBOR_R1) == before
