"""Translate the errors of S3 and boto3 into this project's errors.

Maps error codes, and the exceptions of botocore, boto3, s3transfer and urllib3, to an error with its next step; see
client.py for retries of requests and retry.py for retries after interruptions.
"""

import json
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import botocore.exceptions as botocore_errors
import urllib3.exceptions as urllib3_errors
from botocore.parsers import ResponseParserError

from apex_pipeline.errors import (
    ApexError,
    FileChangedError,
    ObjectArchivedError,
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


class UnexpectedReplyError(Exception):
    """A reply is not one of an S3 store; see reply_checks.py."""


class IncompleteReplyError(UnexpectedReplyError):
    """A reply of an S3 store that lacks a header, as some compatible stores give while an object is being replaced."""


@dataclass(frozen=True)
class ErrorRule:
    """The error that a code or an exception is translated into.

    Attributes:
        error: The type to raise.
        what: The problem, as the end of a sentence.
        hint: The next step.
        names_credentials: Whether the message says where the credentials came from, for errors of the store.
    """

    error: type[ApexError]
    what: str
    hint: str
    names_credentials: bool = True


@dataclass(frozen=True)
class ErrorContext:
    """Location of the lake, for error messages.

    Attributes:
        bucket: Name of the bucket.
        endpoint: Address of the store, or AWS with its region.
        credentials: Returns where the credentials came from, never their values; called only after a failure.
        endpoint_setting: Where the address was set.
    """

    bucket: str
    endpoint: str
    credentials: Callable[[], str]
    endpoint_setting: str = "S3_ENDPOINT_URL"


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
_NO_PROFILE = ErrorRule(
    StoreConfigError,
    "there is no such profile",
    "Set AWS_PROFILE to a profile in ~/.aws/config, or unset it.",
    names_credentials=False,
)
_BAD_CONFIG_FILE = ErrorRule(
    StoreConfigError,
    "the configuration of AWS cannot be read",
    "Correct that file, or remove it.",
    names_credentials=False,
)
_NOT_LOADED = ErrorRule(
    StoreAuthError,
    "they cannot be loaded",
    "Check AWS_PROFILE and what it names in ~/.aws/config (source profile, credential process, token file), or set "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    names_credentials=False,
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
_NOT_S3 = ErrorRule(
    StoreConfigError,
    "the server does not reply as an S3 store does",
    "Check S3_ENDPOINT_URL: it may be a web server, a proxy's login page or another service.",
)
_CIRCLE = ErrorRule(
    StoreConfigError,
    "the server redirects in a circle",
    "Check S3_ENDPOINT_URL; on AWS, set AWS_REGION to the region of the bucket.",
)
_NO_REASON = ErrorRule(
    StoreError,
    "the server refuses the request without a reason",
    "Check S3_ENDPOINT_URL, AWS_REGION and whether the credentials have expired.",
)
_ARCHIVED = ErrorRule(
    ObjectArchivedError,
    "the object is archived (storage class GLACIER or DEEP_ARCHIVE) and cannot be read",
    "Restore it (in the S3 console, or with `aws s3api restore-object`), then run it again.",
    names_credentials=False,
)
_MISSING = ErrorRule(
    ObjectMissingError, "it does not exist", "Run `apex sync`, or check the spelling.", names_credentials=False
)
_REPLACED = ErrorRule(FileChangedError, "it was replaced in the meantime", "Read it again to get the new content.")
_TOO_LARGE = ErrorRule(StoreError, "the file is larger than the store allows", "Split the file.")
_FULL = ErrorRule(StorageFullError, "the store is full", "Free some space or raise the quota, then run it again.")
_BUSY = ErrorRule(
    StoreUnavailableError, "the store is throttling requests", "Run it again later; finished files are kept."
)
_BROKEN = ErrorRule(
    StoreUnavailableError,
    "the store had an internal error",
    "Run it again later; if it persists, check S3_ENDPOINT_URL.",
)
_TIMEOUT = ErrorRule(StoreUnavailableError, "the request timed out", "Check the network, then run it again.")
_DAMAGED_IN_TRANSIT = ErrorRule(StoreInterruptedError, "the bytes were damaged in transit", "Run it again.")
_DAMAGED = ErrorRule(
    StoreCorruptionError, "the bytes received differ from the bytes written", "Write the object again from its source."
)
_UNREACHABLE = ErrorRule(
    StoreUnavailableError, "the store cannot be reached", "Check S3_ENDPOINT_URL and the network, then run it again."
)
_CUT_OFF = ErrorRule(StoreUnavailableError, "the connection broke", "Check the network, then run it again.")

_INCOMPLETE = ErrorRule(
    StoreInterruptedError, "the store described the object incompletely, as if it were being replaced", "Run it again."
)

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
    "InvalidObjectState": _ARCHIVED,
    "": _NOT_S3,
    "400": _NO_REASON,
    "405": _NO_REASON,
    "302": _CIRCLE,
    "307": _CIRCLE,
    "308": _CIRCLE,
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
    "ConditionalRequestConflict": _REPLACED,
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
# Codes of stores that do not support the request's checksums (411: no checksum after the body).
_REFUSALS_OF_CHECKSUMS = frozenset({"NotImplemented", "MissingContentLength", "MissingContentMD5", "411"})
# Codes with many causes; the message says whether it is the checksum. Backblaze: "Unsupported header
# 'x-amz-checksum-crc32' received for this API call."
_BAD_REQUESTS = frozenset({"InvalidArgument", "InvalidRequest", "BadRequest", "UnsupportedHeader", "MalformedXML"})
_REFUSED = 400
# Not found, conflicts, failed conditions, too many requests.
_OTHER_STATUSES = frozenset({404, 408, 409, 412, 416, 429})
_OTHER_CAUSES = (_DAMAGED_IN_TRANSIT, _TIMEOUT, _BUSY, _TOO_LARGE, _FULL, _NO_ACLS, _CLOCK, _EXPIRED, _UNKNOWN_KEY)
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
        (botocore_errors.NoCredentialsError, botocore_errors.NoAuthTokenError),
        _NO_CREDENTIALS,
    ),
    ((botocore_errors.ConfigParseError, botocore_errors.ConfigNotFound), _BAD_CONFIG_FILE),
    ((botocore_errors.TokenRetrievalError, botocore_errors.SSOError, botocore_errors.LoginError), _EXPIRED),
    (
        (
            botocore_errors.PartialCredentialsError,
            botocore_errors.CredentialRetrievalError,
            botocore_errors.InvalidConfigError,
            botocore_errors.UnknownCredentialError,
            botocore_errors.MetadataRetrievalError,
            botocore_errors.MissingDependencyException,
        ),
        _NOT_LOADED,
    ),
    ((IncompleteReplyError,), _INCOMPLETE),
    ((UnexpectedReplyError, ResponseParserError, botocore_errors.PaginationError), _NOT_S3),
    ((botocore_errors.FlexibleChecksumError,), _DAMAGED),
    ((botocore_errors.SSLError,), _CERTIFICATE),
    ((botocore_errors.ConnectTimeoutError, botocore_errors.ReadTimeoutError), _TIMEOUT),
    ((botocore_errors.ConnectionError,), _UNREACHABLE),
    ((*_CUT_OFF_ERRORS, botocore_errors.HTTPClientError), _CUT_OFF),
    (
        (
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
    urllib3_errors.HTTPError,
    ConnectionError,
    RecursionError,
    ResponseParserError,
    UnexpectedReplyError,
    OSError,
    ValueError,
)
_TRANSFER_ERRORS = {
    "boto3.exceptions": ("Boto3Error",),
    "s3transfer.exceptions": ("RetriesExceededError", "S3CopyFailedError", "S3UploadFailedError"),
}
# Exceptions whose text helps and contains no secret. That of a failed credential process contains what it printed.
_SHOWN = (
    UnexpectedReplyError,
    botocore_errors.ConfigParseError,
    botocore_errors.ConfigNotFound,
    botocore_errors.PartialCredentialsError,
    botocore_errors.InvalidConfigError,
    botocore_errors.UnknownCredentialError,
    botocore_errors.MissingDependencyException,
)
# Requests that provide credentials.
_CREDENTIAL_OPERATIONS = frozenset(
    {"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "GetRoleCredentials", "CreateToken"}
)


def error_code(error: BaseException) -> str | None:
    """Return the store's error code, searching the chain of causes; ``None`` if there was no reply."""
    for link in _chain(error):
        if isinstance(link, botocore_errors.ClientError):
            return str(link.response.get("Error", {}).get("Code", ""))
    return None


def is_refusal_of_checksums(error: BaseException) -> bool:
    """Return whether a store refused a request because of its checksum headers."""
    for link in _chain(error):
        if isinstance(link, botocore_errors.ClientError):
            reply = link.response.get("Error", {})
            code, message = str(reply.get("Code", "")), str(reply.get("Message", "")).lower()
            return code in _REFUSALS_OF_CHECKSUMS or (code in _BAD_REQUESTS and "checksum" in message)
    return False


def may_be_refusal_of_checksums(error: BaseException) -> bool:
    """Return whether a store may have refused a request for its checksum headers: any 4xx of no other cause."""
    for link in _chain(error):
        if isinstance(link, botocore_errors.ClientError):
            status = link.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            rule = _CODES.get(str(link.response.get("Error", {}).get("Code", "")))
            return _REFUSED <= status < _SERVER_FAULT and status not in _OTHER_STATUSES and rule not in _OTHER_CAUSES
    return False


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
    if issubclass(rule.error, StoreError) and rule.names_credentials:
        problem += f" Credentials: {context.credentials()}."
    return rule.error(problem, rule.hint.replace("S3_ENDPOINT_URL", context.endpoint_setting))


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
    except (*_TRANSLATED, *_transfer_errors()) as error:
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


def _transfer_errors(name: str | None = None) -> tuple[type[Exception], ...]:
    """Return the errors of boto3 and s3transfer, or one of them, as far as these are imported.

    Only copies of more than 5 GB import them, which takes 0.06 s; before, nothing can have raised their errors.
    """
    wanted = [(module, one) for module, names in _TRANSFER_ERRORS.items() for one in names if name in {None, one}]
    return tuple(getattr(sys.modules[module], one) for module, one in wanted if module in sys.modules)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _rule_of(error: BaseException) -> tuple[ErrorRule, str]:
    links = list(_chain(error))
    return (
        _rule_of_cause(error, links)
        or next((found for link in links if (found := _rule_of_link(link)) is not None), None)
        or (ErrorRule(StoreError, str(error), "See the log for details."), type(error).__name__)
    )


def _rule_of_cause(error: BaseException, links: list[BaseException]) -> tuple[ErrorRule, str] | None:
    """Return the rule for a cause that botocore has wrapped in an error of the connection."""
    # botocore follows redirects until the recursion limit.
    if any(isinstance(link, RecursionError) for link in links):
        return _CIRCLE, "RecursionError"
    if isinstance(error, botocore_errors.HTTPClientError):
        for link in links:
            if isinstance(link, FileNotFoundError | PermissionError):  # no other file is opened for a request
                return _CERTIFICATE, _describe_os_error(link)
    return None


def _rule_of_link(link: BaseException) -> tuple[ErrorRule, str] | None:
    if isinstance(link, botocore_errors.ClientError):
        return _rule_of_reply(link)
    if isinstance(link, botocore_errors.ProfileNotFound):
        return replace(_NO_PROFILE, what=f"there is no profile {link.kwargs.get('profile')!r}"), type(link).__name__
    for types, rule in (*_EXCEPTIONS, (_transfer_errors("RetriesExceededError"), _CUT_OFF)):
        if isinstance(link, types):
            return rule, _describe(link)
    if isinstance(link, ValueError):
        return _rule_of_value(link)
    if isinstance(link, OSError):  # of a file with credentials
        return _NOT_LOADED, _describe_os_error(link)
    return None


def _describe(error: BaseException) -> str:
    if isinstance(error, botocore_errors.CredentialRetrievalError):
        return f"the provider {error.kwargs.get('provider')} failed"
    return str(error) if isinstance(error, _SHOWN) else type(error).__name__


def _describe_os_error(error: OSError) -> str:
    return f"{error.strerror or type(error).__name__}: {error.filename}"


def _with_retry_quota(rule: ErrorRule, error: botocore_errors.ClientError) -> ErrorRule:
    """Treat a server error as an interruption if botocore did not retry it because its retry quota was used up."""
    is_spent = "RetryQuotaReached" in error.response.get("ResponseMetadata", {})
    return replace(rule, error=StoreInterruptedError) if is_spent and rule in {_BUSY, _BROKEN} else rule


def _rule_of_value(error: ValueError) -> tuple[ErrorRule, str]:
    """Return the rule for a value that boto3 could not read from a reply, or not write into a request."""
    if isinstance(error, json.JSONDecodeError):  # S3 does not use JSON
        return _NOT_LOADED, "what provides them does not print JSON"
    is_of_request = isinstance(error, UnicodeError) or str(error).startswith("Invalid header value")
    # Without the text of the error: it may contain the header with the credentials.
    return (_BAD_SETTING, "it cannot be sent in a header") if is_of_request else (_NOT_S3, "a malformed reply")


def _rule_of_reply(error: botocore_errors.ClientError) -> tuple[ErrorRule, str]:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if error.operation_name in _CREDENTIAL_OPERATIONS and status < _SERVER_FAULT:
        return _NOT_LOADED, f"{error.operation_name}: {code}"
    known = _CODES.get(code)
    if known is not None and (code or status < _SERVER_FAULT):
        return _with_retry_quota(known, error), code or f"status {status}"
    if status >= _SERVER_FAULT:
        return _with_retry_quota(_BROKEN, error), f"{code}, status {status}"
    message = error.response.get("Error", {}).get("Message", "no reason given")
    return ErrorRule(StoreError, message.rstrip("."), "Look up this code in the store's documentation."), code
