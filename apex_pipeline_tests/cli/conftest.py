"""Fixtures: run a command as a user would, the lake of ``apex demo``, and the requests sent to a bucket."""

import json
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.hooks import HierarchicalEmitter

from apex_pipeline.cli import main
from apex_pipeline.orchestration.sync import SyncOutcome
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.servers.s3_server import S3Bucket, S3Server
from apex_pipeline_tests.shared_run import SharedRun
from apex_pipeline_tests.storage.s3.harness import connect, store_of

SECRET = "must-never-be-printed"  # noqa: S105  -- tests search the output for it


class CommandResult:
    """Output and exit code of a command."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code = code
        self.out = out
        self.error = error


Apex = Callable[..., CommandResult]


@pytest.fixture
def apex(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Apex:
    """Run a command as a user would."""

    def run(*words: str) -> CommandResult:
        monkeypatch.setattr("sys.argv", ["apex", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        return CommandResult(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def synced(demo_folder: tuple[Path, SyncOutcome]) -> Path:
    """Folder in which `apex demo` was run once: demo-weekend, lake, .dagster, .apex."""
    return demo_folder[0]


@pytest.fixture
def demo_dir(synced: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to the folder of the synced demo."""
    monkeypatch.chdir(synced)
    return synced


@pytest.fixture
def bucket_lake(
    synced: Path, shared_run: SharedRun, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[S3Bucket]:
    """The demo lake in a bucket, set as the lake of the settings; read-only, because all tests of a run share it."""
    with closing(s3_server.client()) as client:

        def build(_: Path) -> str:
            bucket = S3Bucket(f"demo-{uuid4().hex[:12]}", s3_server, client)
            client.create_bucket(Bucket=bucket.name)
            store = store_of(connect(bucket))
            for item in LocalStore(synced / "lake", DigestCache()).list():
                store.write_file(item.key, synced / "lake" / item.key)
            return bucket.name

        bucket = S3Bucket(shared_run.once("demo-copied-to-bucket", build)[1], s3_server, client)
        use_bucket(bucket, monkeypatch)
        yield bucket


def use_bucket(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set this bucket as the lake of the settings."""
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the operations of all requests sent to any bucket during the test, by botocore or without it."""
    names: list[str] = []
    emit = HierarchicalEmitter.emit
    emit_until_response = HierarchicalEmitter.emit_until_response

    def record(name: str) -> None:
        event, _, operation = name.rpartition(".")
        if event == "before-send.s3":
            names.append(operation)

    def note(self: HierarchicalEmitter, event_name: str, **facts: Any) -> Any:
        record(event_name)
        return emit(self, event_name, **facts)

    def note_until_response(self: HierarchicalEmitter, event_name: str, **facts: Any) -> Any:
        record(event_name)
        return emit_until_response(self, event_name, **facts)

    monkeypatch.setattr(HierarchicalEmitter, "emit", note)
    monkeypatch.setattr(HierarchicalEmitter, "emit_until_response", note_until_response)
    return names


class Checks(dict[str, dict[str, str]]):
    """Results of one run of the doctor by check, and its exit code."""

    code: int


@pytest.fixture
def run_doctor(apex: Apex) -> Any:
    def run(*words: str) -> Checks:
        result = apex("doctor", *words, "--json")
        document = json.loads(result.out)
        found = Checks({check["check"]: check for check in document["checks"]})
        found.code = result.code
        assert document["is_healthy"] is (result.code == 0)
        return found

    return run


@pytest.fixture
def use_endpoint(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Point the settings at a store, with credentials whose secret must not be printed."""

    def point_to(endpoint: str) -> None:
        values = {"USE_S3_DATA": "true", "S3_BUCKET_NAME": "races", "S3_ENDPOINT_URL": endpoint}
        for name, value in {**values, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET}.items():
            monkeypatch.setenv(name, value)

    return point_to


@pytest.fixture
def closed_port() -> Generator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
