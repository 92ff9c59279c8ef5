"""Tests that a local lake needs neither network nor credentials, from raw files to data frames."""

import shutil
from pathlib import Path

import pytest

from apex_pipeline.catalog import LocalDataLoader, open_catalog
from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline_tests.e2e.conftest import ignore, settings_in


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The arguments of every connection and name lookup that this process attempts; all of them fail."""
    attempts: list[object] = []

    def refuse(*arguments: object) -> None:
        attempts.append(arguments)
        raise OSError("there is no network here")

    for name in ("socket.socket.connect", "socket.socket.connect_ex", "socket.getaddrinfo"):
        monkeypatch.setattr(name, refuse)
    return attempts


@pytest.mark.req("A-003")
def test_a_local_lake_is_synced_and_read_without_any_connection(tmp_path: Path, attempts: list[object]) -> None:
    sessions = make_weekend(tmp_path / "files", WeekendOptions(target_bytes=1_000_000)).sessions
    track = "harbor_street_circuit"  # one of the two tracks; it has telemetry, official timing and lap files
    shutil.rmtree(tmp_path / "files" / "Mesa Verde Raceway")
    settings = settings_in(tmp_path, tmp_path / "files")
    assert sync(settings, ignore).exit_code == 0
    catalog, loader = open_catalog(settings=settings), LocalDataLoader(settings)
    for session in (session for session in sessions if session.track == track):
        assert len(catalog.laps(session.track, session.session)) > 0
        assert loader.load_lap_times(session.track, session.session) is not None
    assert attempts == []
