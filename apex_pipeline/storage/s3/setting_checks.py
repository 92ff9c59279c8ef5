"""Checks the settings of a bucket before they are used, because boto3's own errors do not name the setting.

No boto3 here: see factory.py for the settings and client.py for the connection.
"""

import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.storage.keys import UnsafeKeyError, check_key

if TYPE_CHECKING:  # its import takes 0.1 s, and clients of buckets need none of it
    from apex_pipeline.settings import Settings

_REGION = re.compile(r"(?![0-9]+$)(?!-)[a-zA-Z0-9-]{1,63}(?<!-)")
_BUCKET = re.compile(r"[a-zA-Z0-9._-]{3,255}")
_NAMES = {" ": "a blank", "\r": "a carriage return (of a file with Windows line ends?)", "\n": "a line break"}


def check_bucket_settings(settings: "Settings", bucket: str) -> None:
    """Check the settings with which a bucket is opened.

    Args:
        settings: Keys, region and endpoint.
        bucket: Name of the bucket.

    Raises:
        ConfigurationError: A setting is invalid; the message names it, and never shows a key.
    """
    secret = settings.aws_secret_access_key
    # Without a key, a token is not used.
    token = None if settings.aws_access_key_id is None else settings.aws_session_token
    reasons = {
        "AWS_ACCESS_KEY_ID": why_not_key(settings.aws_access_key_id),
        "AWS_SECRET_ACCESS_KEY": why_not_key(None if secret is None else secret.get_secret_value()),
        "AWS_SESSION_TOKEN": why_not_key(None if token is None else token.get_secret_value()),
        "AWS_REGION (or AWS_DEFAULT_REGION)": _why_not_region(settings.aws_region),
        "S3_BUCKET_NAME" if bucket == settings.bucket else "The bucket of the URI": _why_not_bucket(bucket),
        "S3_ENDPOINT_URL": _why_not_endpoint(settings.s3_endpoint_url, bucket),
    }
    for name, reason in reasons.items():
        if reason is not None:
            raise ConfigurationError(f"{name} cannot be used: {reason}.", "Correct it in the environment or in .env.")


def check_lake_prefix(prefix: str) -> None:
    """Check the prefix of the lake's keys.

    Raises:
        ConfigurationError: Keys cannot start with it.
    """
    try:
        check_key(prefix or "x")
    except UnsafeKeyError as error:
        problem = error.problem.replace("The key", "APEX_LAKE_PREFIX")
        raise ConfigurationError(problem, "Correct it in the environment or in .env.") from error


def why_not_key(value: str | None) -> str | None:
    """Return why a key, secret or token cannot be sent, as the end of a sentence that does not show it."""
    if value is None:
        return None
    if value[:1] in "\"'" and value[:1] == value[-1:]:
        return "it is in quotes, which are part of the value here"
    return _why_not_word(value)


def _why_not_word(value: str) -> str | None:
    """Return why a value cannot be sent in a header; the value itself is not shown."""
    for letter in value:
        if not "!" <= letter <= "~":
            what = _NAMES.get(letter, "a letter outside ASCII" if letter.isprintable() else "a control character")
            where = "ends with" if value.endswith(letter) else "starts with" if value[0] == letter else "contains"
            return f"it {where} {what}"
    return None


def _why_not_region(region: str) -> str | None:
    reason = _why_not_word(region)
    if reason is None and _REGION.fullmatch(region) is None:
        reason = f"{region!r} is not the name of a region, such as us-east-1"
    return reason


def _why_not_bucket(bucket: str) -> str | None:
    reason = _why_not_word(bucket)
    if reason is None and not bucket.startswith("arn:") and _BUCKET.fullmatch(bucket) is None:
        reason = f"{bucket!r} is not the name of a bucket (without s3://; a folder in it belongs in APEX_LAKE_PREFIX)"
    return reason


def _why_not_endpoint(endpoint: str | None, bucket: str) -> str | None:
    if endpoint is None:
        return None
    try:
        url = urlsplit(endpoint)
        is_url = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # the port, or the brackets of an IPv6 address
        return "it is not a valid URL: check its port"
    return _why_not_word(endpoint) or (
        _why_not_address(url, bucket) if is_url else "it is not a URL such as http://127.0.0.1:9000"
    )


def _why_not_address(url: SplitResult, bucket: str) -> str | None:
    reason = None
    if url.username is not None:
        reason = "it contains a user; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
    elif url.query or url.fragment:
        reason = "it contains a query; give the address of the store alone"
    elif url.path.rstrip("/").endswith(f"/{bucket}") or str(url.hostname).startswith(f"{bucket}.s3"):
        reason = f"it contains the bucket {bucket}; give the address of the store alone"
    return reason
