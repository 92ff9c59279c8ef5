"""Translation of S3's error codes and boto3's exceptions."""

import pickle
from typing import Any

import botocore.exceptions as botocore_errors
import pytest
import urllib3.exceptions as urllib3_errors
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError, HTTPClientError

from apex_pipeline.errors import (
    ApexError,
    FileChangedError,
    ObjectMissingError,
    StorageFullError,
    StoreAuthError,
    StoreConfigError,
    StoreCorruptionError,
    StoreError,
    StoreInterruptedError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.storage.s3.errors import ErrorContext, error_code, s3_errors, translate

_CONTEXT = ErrorContext("races", "http://127.0.0.1:9000", lambda: "from a test")


def _reply(code: str, status: int = 400, message: str = "No.") -> ClientError:
    reply: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(reply, "PutObject")


@pytest.mark.req("K-24", "A-071", "A-072", "A-073", "A-074", "A-042")
@pytest.mark.parametrize(
    ("code", "expected", "hint"),
    [
        ("InvalidAccessKeyId", StoreAuthError, "AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", StoreAuthError, "AWS_SECRET_ACCESS_KEY"),
        ("ExpiredToken", StoreAuthError, "temporary credentials"),
        ("InvalidToken", StoreAuthError, "AWS_SESSION_TOKEN"),
        ("401", StoreAuthError, "AWS_ACCESS_KEY_ID"),
        ("AccessDenied", StorePermissionError, "s3:PutObject"),
        ("403", StorePermissionError, "s3:ListBucket"),
        ("NoSuchBucket", StoreConfigError, "S3_BUCKET_NAME"),
        ("PermanentRedirect", StoreConfigError, "AWS_REGION"),
        ("AuthorizationHeaderMalformed", StoreConfigError, "AWS_REGION"),
        ("301", StoreConfigError, "AWS_REGION"),
        ("IllegalLocationConstraintException", StoreConfigError, "AWS_REGION"),
        ("InvalidBucketName", StoreConfigError, "S3_BUCKET_NAME"),
        ("BucketAlreadyExists", StoreConfigError, "another name"),
        ("AccessControlListNotSupported", StoreConfigError, "bucket policy"),
        ("MissingContentLength", StoreConfigError, "S3_ENDPOINT_URL"),
        ("RequestTimeTooSkewed", StoreConfigError, "clock"),
        ("NoSuchKey", ObjectMissingError, "apex sync"),
        ("404", ObjectMissingError, "apex sync"),
        ("PreconditionFailed", FileChangedError, "new content"),
        ("EntityTooLarge", StoreError, "Split"),
        ("QuotaExceeded", StorageFullError, "quota"),
        ("507", StorageFullError, "space"),
        ("SlowDown", StoreUnavailableError, "later"),
        ("Throttling", StoreUnavailableError, "later"),
        ("429", StoreUnavailableError, "later"),
        ("InternalError", StoreUnavailableError, "later"),
        ("503", StoreUnavailableError, "later"),
        ("RequestTimeout", StoreUnavailableError, "network"),
        ("BadDigest", StoreInterruptedError, "again"),
    ],
)
def test_each_code_has_a_type_and_a_hint(code: str, expected: type[ApexError], hint: str) -> None:
    error = translate(_reply(code), _CONTEXT, "Writing", "data/x.csv")
    assert type(error) is expected
    assert error.problem.startswith("Writing s3://races/data/x.csv at http://127.0.0.1:9000 failed: ")
    assert code in error.problem
    assert hint in error.hint
    names_credentials = issubclass(expected, StoreError) and expected is not ObjectMissingError
    assert ("Credentials: from a test." in error.problem) is names_credentials


@pytest.mark.req("A-154")
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (botocore_errors.NoCredentialsError(), StoreAuthError),
        (botocore_errors.PartialCredentialsError(provider="env", cred_var="secret"), StoreAuthError),
        (botocore_errors.CredentialRetrievalError(provider="sso", error_msg="x"), StoreAuthError),
        (botocore_errors.UnauthorizedSSOTokenError(), StoreAuthError),
        (botocore_errors.ProfileNotFound(profile="x"), StoreConfigError),
        (botocore_errors.NoRegionError(), StoreConfigError),
        (botocore_errors.InvalidRegionError(region_name="?"), StoreConfigError),
        (botocore_errors.ParamValidationError(report="x"), StoreConfigError),
        (botocore_errors.SSLError(endpoint_url="x", error=ValueError("x")), StoreConfigError),
        (botocore_errors.EndpointConnectionError(endpoint_url="x", error="x"), StoreUnavailableError),
        (botocore_errors.ConnectTimeoutError(endpoint_url="x", error="x"), StoreUnavailableError),
        (botocore_errors.ReadTimeoutError(endpoint_url="x", error="x"), StoreUnavailableError),
        (botocore_errors.ProxyConnectionError(proxy_url="x", error="x"), StoreUnavailableError),
        (botocore_errors.ConnectionClosedError(endpoint_url="x"), StoreUnavailableError),
        (botocore_errors.ResponseStreamingError(error=ValueError("x")), StoreUnavailableError),
        (botocore_errors.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailableError),
        (botocore_errors.HTTPClientError(error=ValueError("x")), StoreUnavailableError),
        (urllib3_errors.ProtocolError("x"), StoreUnavailableError),
        (ConnectionResetError(104, "reset"), StoreUnavailableError),
        (botocore_errors.FlexibleChecksumError(error_msg="x"), StoreCorruptionError),
        (botocore_errors.DataNotFoundError(data_path="x"), StoreError),
    ],
)
def test_each_exception_is_translated_to_its_type(error: Exception, expected: type[ApexError]) -> None:
    with pytest.raises(expected) as raised, s3_errors(_CONTEXT, "Listing"):
        raise error
    assert type(raised.value) is expected
    assert raised.value.problem.startswith("Listing s3://races at ")
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(("status", "expected"), [(400, StoreError), (500, StoreUnavailableError)])
def test_the_status_decides_the_type_of_an_unknown_code(status: int, expected: type[ApexError]) -> None:
    error = translate(_reply("Novel", status, "We made this up."), _CONTEXT, "Writing")
    assert type(error) is expected
    assert "Novel" in error.problem
    assert ("We made this up (Novel)" in error.problem) is (status == 400)


@pytest.mark.parametrize("is_explicit", [True, False])
def test_the_original_error_is_found_behind_a_wrapper(*, is_explicit: bool) -> None:
    def fail() -> None:
        cause = _reply("SignatureDoesNotMatch")
        try:
            raise cause
        except ClientError as error:
            wrapper = S3UploadFailedError("Failed to upload")
            if is_explicit:
                raise wrapper from error
            raise wrapper  # noqa: B904  -- implicit chaining is under test

    with pytest.raises(StoreAuthError) as raised, s3_errors(_CONTEXT, "Writing", "x"):
        fail()
    assert error_code(raised.value) == "SignatureDoesNotMatch"


def test_an_error_without_a_reply_has_no_code() -> None:
    assert error_code(botocore_errors.NoCredentialsError()) is None


def test_other_errors_are_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), s3_errors(_CONTEXT, "Listing"):
        _ = 1 / 0
    with pytest.raises(FileChangedError, match="x is gone"), s3_errors(_CONTEXT, "Writing"):
        raise FileChangedError("x is gone.", "Again.")


def test_a_translated_error_can_be_pickled() -> None:
    error = translate(_reply("NoSuchBucket"), _CONTEXT, "Writing")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  -- our own bytes


@pytest.mark.parametrize(("code", "status"), [("SlowDown", 503), ("InternalError", 500), ("Unknown", 503)])
def test_an_error_after_a_spent_retry_quota_is_an_interruption(code: str, status: int) -> None:
    reply = ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status, "RetryQuotaReached": True}},  # type: ignore[typeddict-item, typeddict-unknown-key]  # set by botocore
        "PutObject",
    )
    assert type(translate(reply, _CONTEXT, "Writing", "data/x.csv")) is StoreInterruptedError


def test_a_redirect_in_a_circle_is_reported_however_deep_it_lies() -> None:
    hint = r"in a circle.* Check S3_ENDPOINT_URL; on AWS, set AWS_REGION"
    with pytest.raises(StoreConfigError, match=hint), s3_errors(_CONTEXT, "Listing"):
        raise RecursionError
    with pytest.raises(StoreConfigError, match="in a circle"), s3_errors(_CONTEXT, "Listing"):
        raise HTTPClientError(error="maximum recursion depth exceeded") from RecursionError()


def test_a_value_that_cannot_be_read_or_sent_is_reported_without_the_value() -> None:
    with (
        pytest.raises(StoreConfigError, match="does not reply as an S3 store") as raised,
        s3_errors(_CONTEXT, "Listing"),
    ):
        raise ValueError('Invalid timestamp "yesterday"')
    assert "yesterday" not in str(raised.value)
    with pytest.raises(StoreConfigError, match="a setting is invalid") as raised, s3_errors(_CONTEXT, "Listing"):
        raise ValueError("Invalid header value b'AWS4-HMAC-SHA256 Credential=AKIA\\r/secret'")
    assert "AKIA" not in str(raised.value)
