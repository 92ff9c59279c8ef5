"""Fixtures of the fault tests: three versions of small races, and a lake that has the first version."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.e2e.races import HARBOR_R1, lay_out, make_version
from apex_pipeline_tests.shared_run import SharedRun

# Returns a folder with these sessions, each in this version.
Races = Callable[..., Path]


@pytest.fixture(scope="session")
def weekends(shared_run: SharedRun) -> dict[int, Path]:
    """The weekends by version; read-only."""
    folder, _ = shared_run.once("fault_weekends", lambda folder: [make_version(folder, number) for number in (1, 2, 3)])
    return {number: folder / f"version-{number}" for number in (1, 2, 3)}


@pytest.fixture
def races(weekends: dict[int, Path], tmp_path: Path) -> Races:
    def lay(name: str, *keys: SessionKey, version: int = 1) -> Path:
        return lay_out(tmp_path / name, dict.fromkeys(keys or (HARBOR_R1,), weekends[version]))

    return lay


@pytest.fixture(scope="session")
def synced_folder(shared_run: SharedRun, weekends: dict[int, Path]) -> Path:
    """A machine's folder after a sync of version 1 of one race; read-only."""

    def build(folder: Path) -> None:
        source = lay_out(folder / "source", {HARBOR_R1: weekends[1]})
        Machine(folder).sync(source)

    return shared_run.once("fault_lake", build)[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with an empty lake."""
    return Machine(tmp_path / "machine")


@pytest.fixture
def synced(synced_folder: Path, tmp_path: Path) -> Machine:
    """A machine with a lake that has version 1 of one race."""
    # The digest cache has absolute paths, so the copied lake is compared by content, as after `cp -r`.
    shutil.copytree(synced_folder, tmp_path / "synced", ignore=shutil.ignore_patterns("*.out"))
    return Machine(tmp_path / "synced")
