"""A lake in a folder asks nobody: everything from raw file to frame happens without a connection and without a key."""

import shutil
from pathlib import Path

import pytest

from apex_pipeline.catalog import LocalDataLoader, open_catalog
from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline.orchestration.sync import sync
from apex_pipeline_tests.e2e.conftest import ignore, settings_in


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What this process tried to connect to or to look up; every try fails."""
    tries: list[object] = []

    def refuse(*arguments: object) -> None:
        tries.append(arguments)
        raise OSError("there is no network here")

    for name in ("socket.socket.connect", "socket.socket.connect_ex", "socket.getaddrinfo"):
        monkeypatch.setattr(name, refuse)
    return tries


@pytest.mark.req("A-003")
def test_a_local_lake_is_made_and_read_without_any_connection(tmp_path: Path, asked: list[object]) -> None:
    made = make_weekend(tmp_path / "files", WeekendOptions(target_bytes=1_000_000)).sessions
    track = "harbor_street_circuit"  # one of the two: with telemetry, official timing and lap files
    shutil.rmtree(tmp_path / "files" / "Mesa Verde Raceway")
    settings = settings_in(tmp_path, tmp_path / "files")
    assert sync(settings, ignore).exit_code == 0
    catalog, loader = open_catalog(settings=settings), LocalDataLoader(settings)
    for session in (session for session in made if session.track == track):
        assert len(catalog.laps(session.track, session.session)) > 0
        assert loader.load_lap_times(session.track, session.session) is not None
    assert asked == []
