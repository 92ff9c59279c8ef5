"""What is sent and returned is what botocore sends and returns, for generated keys, metadata, replies and errors."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apex_pipeline.storage.keys import is_legal_key
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.direct.client import DirectClient
from apex_pipeline.storage.s3.errors import UnexpectedReplyError
from apex_pipeline_tests.servers.recording import RawRequest, Recording, recording_server

_BUCKET = "races"
_OK = (
    b'HTTP/1.1 200 OK\r\nETag: "0123"\r\nLast-Modified: Sat, 06 Sep 2025 18:40:00 GMT\r\nContent-Length: 0\r\n'
    b"Date: Sat, 06 Sep 2025 18:41:00 GMT\r\n\r\n"
)
# What botocore tells AWS about itself and its features, a random number, and what makes it wait before a body.
_NOT_COMPARED = {"user-agent", "amz-sdk-invocation-id", "expect"}
_NOW = datetime(2026, 9, 6, 18, 40, tzinfo=UTC)

# Parts that are easily encoded, decoded or tidied up wrongly.
_TRICKY = st.sampled_from(
    [
        *(
            "a b",
            "+",
            "%",
            "%2B",
            "%20",
            "ü",
            "日本",
            "\N{RACING CAR}",
            "..a",
            "a..",
            "...",
            "~",
            "#",
            "?x=1",
            "&",
            "=",
        ),
        *("'", '"', "!", "(1)", ";", ":", "@", ",", "$", "[x]", "{y}", "|", "^", "`", "<z>", "e\u0301", "*", "R1.csv"),
    ]
)
_SEGMENTS = st.lists(st.one_of(_TRICKY, st.text(min_size=1, max_size=8)), min_size=1, max_size=4).map("".join)
_KEYS = st.lists(_SEGMENTS, min_size=1, max_size=4).map("/".join).filter(is_legal_key)
_PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
# A space at an end is none of the value.
_VALUES = st.text(_PRINTABLE, max_size=40).map(str.strip)
_NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
_TAGS = st.text("0123456789abcdef-", min_size=1, max_size=34).map(lambda tag: f'"{tag}"')
_CHECKSUMS = st.one_of(st.just({"ChecksumCRC32": "1B2M2Q=="}), st.just({"ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}))
_CONDITIONS = st.one_of(st.just({}), st.just({"IfNoneMatch": "*"}), _TAGS.map(lambda tag: {"IfMatch": tag}))
_ACLS = st.sampled_from([{}, {"ACL": "public-read"}])
_PUTS = st.builds(
    lambda body, kind, metadata, checksum, condition, acl: (
        "put_object",
        {"Body": body, "ContentType": kind, "Metadata": metadata, **checksum, **condition, **acl},
    ),
    st.binary(max_size=200),
    st.sampled_from(["text/csv", "application/vnd.apache.parquet", "application/octet-stream"]),
    st.dictionaries(_NAMES, _VALUES, max_size=4),
    _CHECKSUMS,
    _CONDITIONS,
    _ACLS,
)
_GETS = st.builds(
    lambda span, condition: ("get_object", {**span, **condition}),
    st.one_of(
        st.just({}),
        st.tuples(st.integers(0, 9**9), st.integers(0, 9**9)).map(lambda at: {"Range": f"bytes={at[0]}-{sum(at)}"}),
    ),
    st.one_of(st.just({}), _TAGS.map(lambda tag: {"IfMatch": tag})),
)
_REQUESTS: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(_PUTS, _GETS, st.just(("head_object", {})))
_MANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="module")
def server() -> Iterator[Recording]:
    with recording_server(_OK) as recording:
        yield recording


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clients sign at the same time."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: _NOW.replace(tzinfo=None))


def _connection(server: Recording, token: str | None = None) -> S3Connection:
    # Without retries: the reply would be the same.
    return S3Connection(_BUCKET, "eu-west-3", server.endpoint, "key", "hush-hush", token, attempts=1)


@pytest.fixture(scope="module", params=[None, "session/token+with=signs"])
def connection(server: Recording, request: pytest.FixtureRequest) -> S3Connection:
    return _connection(server, request.param)


def _both(
    server: Recording, connection: S3Connection, key: str, method: str, arguments: dict[str, Any]
) -> tuple[tuple[RawRequest, object], tuple[RawRequest, object]]:
    """Send a request with each client, and return what arrived and what the client returned or raised."""
    assert isinstance(connection.objects, DirectClient)
    pairs: list[tuple[RawRequest, object]] = []
    for client in (connection.objects, connection.client):
        server.requests.clear()
        outcome = _outcome(getattr(client, method), {"Bucket": _BUCKET, "Key": key, **arguments})
        assert len(server.requests) == 1, outcome
        pairs.append((server.requests[0], outcome))
    return pairs[0], pairs[1]


def _outcome(send: Callable[..., Any], arguments: dict[str, Any]) -> object:
    """Return a reply with its body read, or the error with all that it says."""
    try:
        reply = dict(send(**arguments))
        if "Body" in reply:
            with reply["Body"] as body:
                reply["Body"] = body.read()
    except ClientError as error:
        return type(error).__name__, error.operation_name, dict(error.response)
    except (BotoCoreError, UnexpectedReplyError) as error:
        return type(error).__name__, str(error)
    for note in ("ChecksumAlgorithm", "MaxAttemptsReached"):  # botocore's own: that it verified, and would not retry
        reply["ResponseMetadata"].pop(note, None)
    return reply


def _compared(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _NOT_COMPARED}


@_MANY
@given(key=_KEYS, request=_REQUESTS)
def test_the_bytes_that_are_sent_are_those_of_botocore(
    server: Recording, connection: S3Connection, key: str, request: tuple[str, dict[str, Any]]
) -> None:
    server.reply = _OK
    (own, _), (botocores, _) = _both(server, connection, key, *request)
    assert own.line == botocores.line
    assert _compared(own.headers) == _compared(botocores.headers)  # the signature is one of them
    assert "signature=" in own.headers["authorization"].lower()
    assert own.body == botocores.body
    assert own.headers.keys() - {"expect"} == botocores.headers.keys() - {"expect"}


def test_the_key_is_sent_as_it_is_named(server: Recording, connection: S3Connection) -> None:
    server.reply = _OK
    (own, _), _ = _both(server, connection, "a b/ü+%2F~/..x.csv", "head_object", {})
    assert own.line == "HEAD /races/a%20b/%C3%BC%2B%252F~/..x.csv HTTP/1.1"
    assert own.headers["user-agent"].endswith("+checkout") or "apex-pipeline/" in own.headers["user-agent"]


_DATES = st.sampled_from(
    ["Sat, 06 Sep 2025 18:40:00 GMT", "Sat, 06 Sep 2025 18:40:00 -0000", "Sat, 6 Sep 2025 20:40:00 +0200"]
)
_REPLY_HEADERS = st.fixed_dictionaries(
    {"ETag": _TAGS, "Last-Modified": _DATES},
    optional={
        "Content-Type": st.sampled_from(["text/csv", "application/xml"]),
        "Expires": st.sampled_from(["Sat, 06 Sep 2025 18:40:00 GMT", "never", "0"]),
        "x-amz-request-id": st.text("0123456789ABCDEF", min_size=1, max_size=16),
        "X-Amz-Id-2": st.text("abc=/+", max_size=10),
        "x-amz-version-id": st.just("null"),
        "x-amz-delete-marker": st.sampled_from(["true", "false"]),
        "x-amz-missing-meta": st.integers(0, 99).map(str),
        "X-Amz-Meta-Sha256": st.text("0123456789abcdef", min_size=64, max_size=64),
        "x-amz-meta-note": _VALUES,
        "x-amz-server-side-encryption-bucket-key-enabled": st.just("true"),
        "x-amz-restore": st.just('ongoing-request="true"'),
        "Accept-Ranges": st.just("bytes"),
        "Cache-Control": _VALUES,
        "x-unknown": _VALUES,
    },
)


def _reply(status: int, headers: Mapping[str, str], body: bytes = b"", *, method: str = "get_object") -> bytes:
    lines = [f"HTTP/1.1 {status} Reason", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + (b"" if method == "head_object" else body)


@_MANY
@given(method=st.sampled_from(["head_object", "get_object", "put_object"]), headers=_REPLY_HEADERS, body=st.binary())
def test_a_reply_is_read_as_botocore_reads_it(
    server: Recording, connection: S3Connection, method: str, headers: dict[str, str], body: bytes
) -> None:
    content = b"" if method == "put_object" else body
    server.reply = _reply(200, headers, content, method=method)
    arguments = {"Body": b"x"} if method == "put_object" else {}
    (_, own), (_, botocores) = _both(server, connection, "x.csv", method, arguments)
    assert own == botocores


_CODES = ["NoSuchKey", "NoSuchBucket", "AccessDenied", "ExpiredToken", "SlowDown", "InternalError", "BadDigest", "Odd"]
_ERRORS = st.one_of(
    st.builds(
        "<?xml version='1.0'?><Error><Code>{}</Code><Message>{}</Message><RequestId>7</RequestId></Error>".format,
        st.sampled_from(_CODES),
        st.text("abc &amp;ü", max_size=20).filter(lambda text: "&" not in text.replace("&amp;", "")),
    ),
    st.just(""),
    st.just("<html><body>no</body></html>"),
    st.just("not XML <"),
).map(str.encode)


@_MANY
@given(
    method=st.sampled_from(["head_object", "get_object", "put_object"]),
    status=st.sampled_from([401, 403, 404, 405, 409, 411, 412, 413, 416, 429, 500, 501, 502, 503, 504, 507]),
    body=_ERRORS,
)
def test_an_error_is_the_one_that_botocore_raises(
    server: Recording, connection: S3Connection, method: str, status: int, body: bytes
) -> None:
    server.reply = _reply(status, {"Content-Type": "application/xml", "x-amz-request-id": "7"}, body, method=method)
    arguments = {"Body": b"x"} if method == "put_object" else {}
    (_, own), (_, botocores) = _both(server, connection, "x.csv", method, arguments)
    assert own == botocores
    assert isinstance(own, tuple)


def test_an_error_in_a_reply_with_success_is_an_error(server: Recording, connection: S3Connection) -> None:
    server.reply = _reply(200, {"ETag": '"0"'}, b"<Error><Code>InternalError</Code></Error>")
    (_, own), (_, botocores) = _both(server, connection, "x.csv", "put_object", {"Body": b"x"})
    assert own == botocores
    assert isinstance(own, tuple)


@pytest.mark.parametrize("missing", ["ETag", "Last-Modified"])
def test_a_reply_that_is_none_of_a_store_is_refused_like_botocores(
    server: Recording, connection: S3Connection, missing: str
) -> None:
    headers = {"ETag": '"0"', "Last-Modified": "Sat, 06 Sep 2025 18:40:00 GMT"}
    del headers[missing]
    server.reply = _reply(200, headers)
    (_, own), (_, botocores) = _both(server, connection, "x.csv", "get_object", {})
    assert own == botocores == ("UnexpectedReplyError", f"a reply to GetObject without {missing.lower()}")


@pytest.mark.parametrize(
    "arguments",
    [
        {"Metadata": {"note": "Nürburgring"}},
        {"Metadata": {"note": "two\nlines"}},
        {"ContentType": "text/ü"},
        {"CacheControl": "no-store"},
        {"Metadata": {"note": 7}},
    ],
)
def test_arguments_of_other_kinds_are_left_to_botocore(
    server: Recording, connection: S3Connection, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[dict[str, Any]] = []
    monkeypatch.setattr(connection.client, "put_object", lambda **given: left.append(given))
    connection.objects.put_object(Bucket=_BUCKET, Key="x", Body=b"", **arguments)
    assert left == [{"Bucket": _BUCKET, "Key": "x", "Body": b"", **arguments}]


def test_requests_to_another_bucket_are_left_to_botocore(server: Recording, connection: S3Connection) -> None:
    server.reply = _OK
    server.requests.clear()
    connection.objects.head_object(Bucket="others", Key="x")
    assert [request.line for request in server.requests] == ["HEAD /others/x HTTP/1.1"]
