"""The access key from Secrets Manager: read once at the first use, with typed errors, and never shown."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, InvalidRegionError, NoCredentialsError
from moto import mock_aws

from apex_pipeline.errors import (
    ApexError,
    StoreAuthError,
    StoreConfigError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.s3 import sessions as sessions_module
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.credentials import AccessKey, SecretsManagerKey

pytestmark = pytest.mark.req("A-098", "A-138")

_REGION = "eu-west-3"
_NAME = "apex/lake"
_HIDDEN = "hush-hush-hush"
_KEY = {"AWS_ACCESS_KEY_ID": "lake-key", "AWS_SECRET_ACCESS_KEY": _HIDDEN}


@pytest.fixture
def store_secret() -> Iterator[Callable[[str], None]]:
    """A function that stores a text as the secret ``apex/lake`` in a mocked AWS account."""
    with mock_aws():  # which sets its own credentials
        client: Any = boto3.client("secretsmanager", region_name=_REGION)

        def put(text: str) -> None:
            client.create_secret(Name=_NAME, SecretString=text)

        yield put
        client.close()


def _connection(**own: str) -> S3Connection:
    settings = load_settings(use_s3_data=True, secret_id=_NAME, aws_region=_REGION, **own)
    return vars(open_store(settings, for_writing=False))["_connection"]


def _credentials_of(connection: S3Connection) -> tuple[str | None, ...]:
    signer: Any = connection.client
    found = signer._request_signer._credentials
    return (found.access_key, found.secret_key, found.token)


@pytest.mark.parametrize("token", [None, "temporary"])
def test_the_lake_is_opened_with_the_key_from_the_secret(
    store_secret: Callable[[str], None], token: str | None
) -> None:
    store_secret(json.dumps({**_KEY, "AWS_SESSION_TOKEN": token or ""}))
    assert _credentials_of(_connection()) == ("lake-key", _HIDDEN, token)


def test_the_secret_is_read_once_at_the_first_use(
    store_secret: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store_secret(json.dumps(_KEY))
    names: list[str] = []
    read = SecretsManagerKey.read
    monkeypatch.setattr(SecretsManagerKey, "read", lambda stored: (names.append(stored.name), read(stored))[1])
    connection = _connection()
    assert names == []
    assert connection.client is connection.client
    assert names == ["apex/lake"]


def test_the_secret_is_read_with_the_keys_from_the_settings(
    store_secret: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store_secret(json.dumps(_KEY))
    sessions: list[tuple[str | None, ...]] = []

    def record(*key_and_region: str | None, **_: object) -> None:
        sessions.append(key_and_region[:4])

    for module in ("client", "credentials"):
        name = f"apex_pipeline.storage.s3.{module}.new_session"
        monkeypatch.setattr(name, _also(record, sessions_module.new_session))
    own = {"aws_access_key_id": "own-key", "aws_secret_access_key": "own-secret", "aws_session_token": "own-token"}
    assert _connection(**own).client
    assert sessions == [
        ("own-key", "own-secret", "own-token", _REGION),
        ("lake-key", _HIDDEN, None, _REGION),
    ]


def _also(first: Callable[..., None], then: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls both with the same arguments."""

    def call(*arguments: Any, **options: Any) -> Any:
        first(*arguments, **options)
        return then(*arguments, **options)

    return call


def test_without_a_secret_id_no_secret_is_read() -> None:
    assert vars(open_store(load_settings(use_s3_data=True), for_writing=False))["_connection"].stored_key is None


def test_the_source_is_reported_and_the_secret_never_printed_or_logged(
    store_secret: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    store_secret(json.dumps(_KEY))
    caplog.set_level(logging.DEBUG)
    connection = _connection()
    assert connection.client.meta.region_name == _REGION
    assert connection.credential_source() == "from Secrets Manager secret apex/lake"
    shown = caplog.text + repr(connection) + repr(connection.error_context) + repr(AccessKey("key", _HIDDEN, _HIDDEN))
    assert "secretsmanager" in caplog.text
    assert _HIDDEN not in shown
    assert not logging.getLogger("botocore.parsers").disabled


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (_HIDDEN, "it is not JSON"),
        (f'["{_HIDDEN}"]', "it has no AWS_ACCESS_KEY_ID"),
        (json.dumps({"AWS_SECRET_ACCESS_KEY": _HIDDEN}), "it has no AWS_ACCESS_KEY_ID"),
        (json.dumps({"AWS_ACCESS_KEY_ID": _HIDDEN, "AWS_SECRET_ACCESS_KEY": ""}), "it has no AWS_SECRET_ACCESS_KEY"),
        (json.dumps({"AWS_ACCESS_KEY_ID": _HIDDEN, "AWS_SECRET_ACCESS_KEY": 7}), "it has no AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_secret_without_a_key_is_reported_but_not_shown(
    store_secret: Callable[[str], None], text: str, problem: str
) -> None:
    store_secret(text)
    with pytest.raises(StoreConfigError, match=problem) as raised:
        assert _connection().client
    assert "apex/lake" in raised.value.problem
    assert '"AWS_SECRET_ACCESS_KEY"' in raised.value.hint
    assert _HIDDEN not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("AWS_ACCESS_KEY_ID", "lake-key\r", "ends with a carriage return"),
        ("AWS_SECRET_ACCESS_KEY", f" {_HIDDEN}", "starts with a blank"),
        ("AWS_SESSION_TOKEN", f"{_HIDDEN}\n", "ends with a line break"),
    ],
)
def test_a_secret_with_an_invalid_key_is_reported_but_not_shown(
    store_secret: Callable[[str], None], name: str, value: str, reason: str
) -> None:
    store_secret(json.dumps({**_KEY, name: value}))
    with pytest.raises(StoreConfigError, match=f"its {name} is invalid: it {reason}") as raised:
        assert _connection().client
    assert _HIDDEN not in str(raised.value)


def test_a_missing_secret_is_reported(store_secret: Callable[[str], None]) -> None:
    with pytest.raises(StoreConfigError, match="no such secret") as raised:
        assert _connection().client
    assert raised.value.hint == "Check APEX_SECRET_ID and AWS_REGION."


def _refusal(code: str, status: int = 400) -> ClientError:
    reply: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(reply, "GetSecretValue")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (_refusal("AccessDeniedException"), StorePermissionError),
        (_refusal("DecryptionFailure"), StorePermissionError),
        (_refusal("InvalidRequestException"), StoreConfigError),
        (_refusal("UnrecognizedClientException"), StoreAuthError),
        (_refusal("InvalidSignatureException"), StoreAuthError),
        (_refusal("ExpiredTokenException"), StoreAuthError),
        (_refusal("ThrottlingException"), StoreUnavailableError),
        (_refusal("InternalServiceError", 500), StoreUnavailableError),
        (_refusal("SomethingNew"), StoreConfigError),
        (NoCredentialsError(), StoreAuthError),
        (ConnectTimeoutError(endpoint_url="https://secretsmanager"), StoreUnavailableError),
        (InvalidRegionError(region_name="no where"), StoreConfigError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value)[:60],
)
def test_each_failure_has_a_type_and_names_the_secret(
    failure: Exception, expected: type[ApexError], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def get_secret_value(self, **_: object) -> None:
            raise failure

    monkeypatch.setattr(SecretsManagerKey, "_client", lambda _: Refusing())
    with pytest.raises(expected, match=f"The secret apex/lake in {_REGION} cannot be used") as raised:
        SecretsManagerKey("apex/lake", _REGION).read()
    assert type(raised.value) is expected
    assert raised.value.hint
