"""Fixtures of the upload tests: a bucket configured in the environment, and a recorder of the requests sent to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders

from apex_pipeline.storage.request_stats import RequestCounter
from apex_pipeline_tests.servers.seaweed import S3Bucket


class RequestRecorder:
    """Records the requests sent to the server, and can answer them with errors."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._refusal: tuple[str, int, str] | None = None
        self._refused_keys: tuple[str, ...] = ()

    def refuse(self, operation: str, status: int, code: str, *keys: str) -> None:
        """Answer every request of this operation, or those for these keys, with an error."""
        self._refusal, self._refused_keys = (operation, status, code), keys

    def refuse_nothing(self) -> None:
        """Let every request through to the server again."""
        self._refusal = None

    def headers_of(self, operation: str) -> list[dict[str, Any]]:
        """Return the headers of each request of this operation."""
        return [headers for name, headers in self.requests if name == operation]

    @property
    def writes(self) -> int:
        """Number of requests that write objects or parts."""
        return sum(name in {"PutObject", "UploadPart", "CreateMultipartUpload"} for name, _ in self.requests)

    @property
    def head_requests(self) -> int:
        """Number of HEAD requests for single objects."""
        return len(self.headers_of("HeadObject"))

    def record(self, model: Any, params: dict[str, Any], **_: object) -> None:
        self.requests.append((model.name, params["headers"]))

    def answer(self, request: AWSRequest, event_name: str, **_: object) -> AWSResponse | None:
        url = str(request.url)
        if self._refusal is None or (self._refused_keys and not url.endswith(self._refused_keys)):
            return None
        operation, status, code = self._refusal
        if not event_name.endswith(f".{operation}"):
            return None
        body = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()
        return AWSResponse(url, status, HTTPHeaders(), _Body(body))


class _Body:
    """The body of a response that no server sent."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> list[bytes]:
        return [self._content]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> RequestRecorder:
    """The requests of every client created from now on."""
    new = RequestRecorder()
    attach = RequestCounter.attach

    def attach_and_record(counter: RequestCounter, events: Any) -> None:
        attach(counter, events)
        events.register("before-call.s3", new.record)
        events.register("before-send.s3", new.answer)

    monkeypatch.setattr(RequestCounter, "attach", attach_and_record)
    return new


@pytest.fixture
def bucket(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """An empty bucket; everything but its name is set in the environment."""
    for name, value in s3_bucket.environment.items():
        if name not in {"S3_BUCKET_NAME", "USE_S3_DATA"}:
            monkeypatch.setenv(name, value)
    return s3_bucket


@pytest.fixture
def content_of(bucket: S3Bucket) -> Callable[[str], bytes]:
    """Return a function that reads an object with another client."""
    return lambda key: bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with race files and other files."""
    root = tmp_path / "race files"
    for path, content in {
        "COTA/Race 1/R1_cota_lap_time.csv": b"lap,value\n1,97428\n" * 40,
        "barber/R1_barber_weather.csv": b"time;rain\n1;0\n" * 30,
        "barber/notes für später.txt": b"wet in turn 5",
        "photo.jpg": b"\xff\xd8\xff",
        "barber/empty.csv": b"",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root
