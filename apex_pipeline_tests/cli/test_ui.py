"""`apex ui`: the address is printed when something listens there; a port in use is an error before Dagster starts."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from apex_pipeline.cli.pipeline import announce
from apex_pipeline_tests.cli.conftest import Apex


@pytest.fixture
def listening() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_the_address_is_printed_once_something_listens(listening: int, capsys: pytest.CaptureFixture[str]) -> None:
    announce(listening, threading.Event())
    assert capsys.readouterr().out == f"Dagster UI: http://127.0.0.1:{listening} (Ctrl+C to stop)\n"


def test_no_address_is_printed_if_dagster_ends_before(capsys: pytest.CaptureFixture[str]) -> None:
    ended = threading.Event()
    ended.set()
    announce(1, ended)
    assert capsys.readouterr().out == ""


def test_a_port_in_use_is_an_error_with_another_one(
    listening: int, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.cli.pipeline.run_until_stopped", lambda *_: pytest.fail("Dagster was started"))
    result = apex("ui", "--port", str(listening))
    assert result.code == 2
    assert f"Port {listening} cannot be used: Address already in use." in result.error
    assert f"apex ui --port {listening + 1}" in result.error
