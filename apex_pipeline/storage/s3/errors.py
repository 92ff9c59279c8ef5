"""Translate the errors of S3 and boto3 into this project's errors.

Maps error codes, and the exceptions of botocore, boto3, s3transfer and urllib3, to an error with its next step; see
client.py for retries of requests and retry.py for retries after interruptions.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import boto3.exceptions as boto3_errors
import botocore.exceptions as botocore_errors
import s3transfer.exceptions as s3transfer_errors
import urllib3.exceptions as urllib3_errors

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


@dataclass(frozen=True)
class ErrorRule:
    """The error that a code or an exception is translated into.

    Attributes:
        error: The type to raise.
        what: The problem, as the end of a sentence.
        hint: The next step.
    """

    error: type[ApexError]
    what: str
    hint: str


@dataclass(frozen=True)
class ErrorContext:
    """Location of the lake, for error messages.

    Attributes:
        bucket: Name of the bucket.
        endpoint: Address of the store, or AWS with its region.
        credentials: Returns where the credentials came from, never their values; called only after a failure.
    """

    bucket: str
    endpoint: str
    credentials: Callable[[], str]


_CHECK_KEYS = (
    "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for temporary keys), or your profile."
)
_UNKNOWN_KEY = ErrorRule(StoreAuthError, "the store does not know the access key", _CHECK_KEYS)
_WRONG_SECRET = ErrorRule(StoreAuthError, "the secret does not belong to the access key", _CHECK_KEYS)
_EXPIRED = ErrorRule(StoreAuthError, "the credentials have expired", "Log in again, or get new temporary credentials.")
_NOT_ACCEPTED = ErrorRule(StoreAuthError, "the store does not accept the credentials", _CHECK_KEYS)
_NO_CREDENTIALS = ErrorRule(
    StoreAuthError,
    "no complete credentials were found",
    "Set S3_BUCKET_NAME, AWS_REGION, and either AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role.",
)
_FORBIDDEN = ErrorRule(
    StorePermissionError,
    "these credentials may not do this",
    "Grant s3:ListBucket on the bucket and s3:GetObject (to write also s3:PutObject) on its objects.",
)
_NO_BUCKET = ErrorRule(
    StoreConfigError,
    "there is no such bucket",
    "Check S3_BUCKET_NAME, AWS_REGION and S3_ENDPOINT_URL; ALLOW_CREATE_BUCKET=true lets a sync create it.",
)
_WRONG_REGION = ErrorRule(
    StoreConfigError, "the bucket is in another region", "Set AWS_REGION to the region of the bucket."
)
_BAD_SETTING = ErrorRule(
    StoreConfigError, "a setting is invalid", "Check S3_BUCKET_NAME, AWS_REGION, S3_ENDPOINT_URL and AWS_PROFILE."
)
_NO_ACLS = ErrorRule(
    StoreConfigError,
    "the bucket does not allow access control lists (ACLs)",
    "Make objects public with a bucket policy instead.",
)
_UNSUPPORTED = ErrorRule(
    StoreConfigError,
    "the store does not support this request",
    "Check that S3_ENDPOINT_URL is a current S3 store: CRC32 checksums and multipart uploads are required.",
)
_CLOCK = ErrorRule(
    StoreConfigError, "the clocks of this machine and of the store differ too much", "Set this machine's clock."
)
_CERTIFICATE = ErrorRule(
    StoreConfigError,
    "a secure connection could not be established",
    "Check S3_ENDPOINT_URL (https?) and AWS_CA_BUNDLE.",
)
_MISSING = ErrorRule(ObjectMissingError, "it does not exist", "Run `apex sync`, or check the spelling.")
_REPLACED = ErrorRule(FileChangedError, "it was replaced in the meantime", "Read it again to get the new content.")
_TOO_LARGE = ErrorRule(StoreError, "the file is larger than the store allows", "Split the file.")
_FULL = ErrorRule(StorageFullError, "the store is full", "Free some space or raise the quota, then run it again.")
_BUSY = ErrorRule(
    StoreUnavailableError, "the store is throttling requests", "Run it again later; finished files are kept."
)
_BROKEN = ErrorRule(StoreUnavailableError, "the store had an internal error", "Run it again later.")
_TIMEOUT = ErrorRule(StoreUnavailableError, "the request timed out", "Check the network, then run it again.")
_DAMAGED_IN_TRANSIT = ErrorRule(StoreInterruptedError, "the bytes were damaged in transit", "Run it again.")
_DAMAGED = ErrorRule(
    StoreCorruptionError, "the bytes received differ from the bytes written", "Write the object again from its source."
)
_UNREACHABLE = ErrorRule(
    StoreUnavailableError, "the store cannot be reached", "Check S3_ENDPOINT_URL and the network, then run it again."
)
_CUT_OFF = ErrorRule(StoreUnavailableError, "the connection broke", "Check the network, then run it again.")

# By code. The reply to a HEAD request has no body, so its status number is the only code.
_CODES: dict[str, ErrorRule] = {
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "UnrecognizedClientException": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": _WRONG_SECRET,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": _NOT_ACCEPTED,
    "InvalidSecurity": _NOT_ACCEPTED,
    "MissingSecurityHeader": _NOT_ACCEPTED,
    "AccountProblem": _NOT_ACCEPTED,
    "NotSignedUp": _NOT_ACCEPTED,
    "401": _NOT_ACCEPTED,
    "AccessDenied": _FORBIDDEN,
    "AccessDeniedException": _FORBIDDEN,
    "AllAccessDisabled": _FORBIDDEN,
    "Forbidden": _FORBIDDEN,
    "403": _FORBIDDEN,
    "NoSuchBucket": _NO_BUCKET,
    "PermanentRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "301": _WRONG_REGION,
    "InvalidBucketName": _BAD_SETTING,
    "BucketAlreadyExists": ErrorRule(StoreConfigError, "the bucket belongs to someone else", "Choose another name."),
    "AccessControlListNotSupported": _NO_ACLS,
    "NotImplemented": _UNSUPPORTED,
    "MissingContentLength": _UNSUPPORTED,
    "MissingContentMD5": _UNSUPPORTED,
    "411": _UNSUPPORTED,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "NoSuchKey": _MISSING,
    "NotFound": _MISSING,
    "404": _MISSING,
    "PreconditionFailed": _REPLACED,
    "412": _REPLACED,
    "EntityTooLarge": _TOO_LARGE,
    "413": _TOO_LARGE,
    "QuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "InsufficientStorage": _FULL,
    "507": _FULL,
    "SlowDown": _BUSY,
    "Throttling": _BUSY,
    "ThrottlingException": _BUSY,
    "ThrottledException": _BUSY,
    "RequestThrottled": _BUSY,
    "RequestThrottledException": _BUSY,
    "RequestLimitExceeded": _BUSY,
    "BandwidthLimitExceeded": _BUSY,
    "TooManyRequestsException": _BUSY,
    "PriorRequestNotComplete": _BUSY,
    "OperationAborted": _BUSY,
    "429": _BUSY,
    "InternalError": _BROKEN,
    "ServiceUnavailable": _BROKEN,
    "500": _BROKEN,
    "502": _BROKEN,
    "503": _BROKEN,
    "504": _BROKEN,
    "RequestTimeout": _TIMEOUT,
    "RequestTimeoutException": _TIMEOUT,
    "BadDigest": _DAMAGED_IN_TRANSIT,
    "InvalidDigest": _DAMAGED_IN_TRANSIT,
    "XAmzContentChecksumMismatch": _DAMAGED_IN_TRANSIT,
    "XAmzContentSHA256Mismatch": _DAMAGED_IN_TRANSIT,
    "IncompleteBody": _DAMAGED_IN_TRANSIT,
}
_SERVER_FAULT = 500  # this status and above are server errors

# The body of a reply broke off or stalled after the headers had arrived. botocore does not retry these.
_CUT_OFF_ERRORS: tuple[type[Exception], ...] = (
    botocore_errors.ResponseStreamingError,
    botocore_errors.IncompleteReadError,
    botocore_errors.ReadTimeoutError,
    botocore_errors.ConnectionClosedError,
    botocore_errors.FlexibleChecksumError,
    urllib3_errors.HTTPError,
    ConnectionError,
)

# By type. The first match wins, so subclasses come before their base classes.
_EXCEPTIONS: tuple[tuple[tuple[type[Exception], ...], ErrorRule], ...] = (
    (
        (
            botocore_errors.NoCredentialsError,
            botocore_errors.PartialCredentialsError,
            botocore_errors.CredentialRetrievalError,
            botocore_errors.NoAuthTokenError,
        ),
        _NO_CREDENTIALS,
    ),
    ((botocore_errors.TokenRetrievalError, botocore_errors.SSOError, botocore_errors.LoginError), _EXPIRED),
    # botocore follows a redirect without a location until the recursion limit.
    ((RecursionError,), _WRONG_REGION),
    ((botocore_errors.FlexibleChecksumError,), _DAMAGED),
    ((botocore_errors.SSLError,), _CERTIFICATE),
    ((botocore_errors.ConnectTimeoutError, botocore_errors.ReadTimeoutError), _TIMEOUT),
    ((botocore_errors.ConnectionError,), _UNREACHABLE),
    ((*_CUT_OFF_ERRORS, botocore_errors.HTTPClientError, s3transfer_errors.RetriesExceededError), _CUT_OFF),
    (
        (
            botocore_errors.ProfileNotFound,
            botocore_errors.ConfigParseError,
            botocore_errors.InvalidConfigError,
            botocore_errors.ParamValidationError,
            botocore_errors.ValidationError,
            botocore_errors.BaseEndpointResolverError,
            botocore_errors.EndpointProviderError,
        ),
        _BAD_SETTING,
    ),
)
_TRANSLATED = (
    botocore_errors.BotoCoreError,
    botocore_errors.ClientError,
    boto3_errors.Boto3Error,
    s3transfer_errors.RetriesExceededError,
    s3transfer_errors.S3CopyFailedError,
    s3transfer_errors.S3UploadFailedError,
    urllib3_errors.HTTPError,
    ConnectionError,
    RecursionError,
)


def error_code(error: BaseException) -> str | None:
    """Return the store's error code, searching the chain of causes; ``None`` if there was no reply."""
    for link in _chain(error):
        if isinstance(link, botocore_errors.ClientError):
            return str(link.response.get("Error", {}).get("Code", ""))
    return None


def translate(error: BaseException, context: ErrorContext, operation: str, key: str | None = None) -> ApexError:
    """Return the error to raise instead of ``error``.

    Args:
        error: The exception from boto3; its causes are searched too, because uploads wrap the original one.
        context: Location of the lake.
        operation: The failed operation, for example ``"Reading"``.
        key: Full key of the object; ``None`` for an operation on the bucket.
    """
    rule, detail = _rule_of(error)
    address = f"s3://{context.bucket}" + (f"/{key}" if key else "")
    problem = f"{operation} {address} at {context.endpoint} failed: {rule.what} ({detail})."
    if issubclass(rule.error, StoreError) and rule.error is not ObjectMissingError:
        problem += f" Credentials: {context.credentials()}."
    return rule.error(problem, rule.hint)


@contextmanager
def s3_errors(context: ErrorContext, operation: str, key: str | None = None) -> Generator[None]:
    """Translate boto3's errors in the block into this project's errors.

    Args:
        context: Location of the lake.
        operation: What the block does, for example ``"Reading"``.
        key: Full key of the object; ``None`` for an operation on the bucket.
    """
    try:
        yield
    except _TRANSLATED as error:
        raise translate(error, context, operation, key) from error


@contextmanager
def body_errors(context: ErrorContext, key: str) -> Generator[None]:
    """Raise ``StoreInterruptedError`` if the body of a reply breaks off or stalls in the block.

    Args:
        context: Location of the lake.
        key: Full key of the object.
    """
    try:
        yield
    except botocore_errors.FlexibleChecksumError as error:
        raise translate(error, context, "Reading", key) from error
    except _CUT_OFF_ERRORS as error:
        failure = translate(error, context, "Reading", key)
        raise StoreInterruptedError(failure.problem, failure.hint) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _rule_of(error: BaseException) -> tuple[ErrorRule, str]:
    for link in _chain(error):
        if isinstance(link, botocore_errors.ClientError):
            return _rule_of_reply(link)
        for types, rule in _EXCEPTIONS:
            if isinstance(link, types):
                return rule, type(link).__name__
    return ErrorRule(StoreError, str(error), "See the log for details."), type(error).__name__


def _with_retry_quota(rule: ErrorRule, error: botocore_errors.ClientError) -> ErrorRule:
    """Treat a server error as an interruption if botocore did not retry it because its retry quota was used up."""
    is_spent = "RetryQuotaReached" in error.response.get("ResponseMetadata", {})
    return replace(rule, error=StoreInterruptedError) if is_spent and rule in {_BUSY, _BROKEN} else rule


def _rule_of_reply(error: botocore_errors.ClientError) -> tuple[ErrorRule, str]:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    known = _CODES.get(code)
    if known is not None:
        return _with_retry_quota(known, error), code
    if status >= _SERVER_FAULT:
        return _with_retry_quota(_BROKEN, error), f"{code}, status {status}"
    message = error.response.get("Error", {}).get("Message", "no reason given")
    return ErrorRule(StoreError, message.rstrip("."), "Look up this code in the store's documentation."), code
