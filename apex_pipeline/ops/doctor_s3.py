"""Checks a bucket for `apex doctor`: credentials, endpoint, clock, region and existence of the bucket.

See doctor.py for the checks of any lake, and storage/s3/errors.py for the meaning of a store's errors.
"""

import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from apex_pipeline.errors import ApexError
from apex_pipeline.ops.doctor import CheckResult, CheckStatus, failed_check
from apex_pipeline.settings import Settings
from apex_pipeline.storage.factory import s3_connection
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import error_code, s3_errors
from apex_pipeline.storage.s3.setting_checks import check_lake_prefix

# S3 refuses requests whose timestamp is off by 15 minutes.
_CLOCK_PROBLEM = timedelta(minutes=5)
_CLOCK_NOTE = timedelta(minutes=1)
# A store without a connection within this time is reported as unreachable; the client would retry for minutes.
_CONNECT_TIMEOUT_S = 5.0


def check_bucket(settings: Settings, where_set: Mapping[str, str]) -> Iterator[CheckResult]:
    """Check a bucket step by step, and stop where the next step cannot succeed.

    Args:
        settings: Location of the lake.
        where_set: Origin of each variable, from :func:`apex_pipeline.settings.setting_sources`.
    """
    try:
        check_lake_prefix(settings.lake_prefix)
        connection = s3_connection(settings)
        address = connection.client.meta.endpoint_url
        source = connection.credential_source()
    except ApexError as error:
        yield failed_check("credentials", error)
        return
    credentials = _credentials(source, where_set)
    yield credentials
    if credentials.state is CheckStatus.PROBLEM:
        return
    if unreachable := _why_unreachable(address):
        yield CheckResult(
            "endpoint",
            CheckStatus.PROBLEM,
            f"Connecting to s3://{connection.bucket} at {address} failed: {unreachable}. Credentials: {source}.",
            "Check S3_ENDPOINT_URL and AWS_REGION, then the network: cable, VPN, firewall, proxy.",
        )
        return
    yield CheckResult("endpoint", CheckStatus.OK, f"{address} can be reached")
    yield from _check_listing(connection, settings)


def _credentials(source: str, where_set: Mapping[str, str]) -> CheckResult:
    if source == "none found":
        return CheckResult(
            "credentials",
            CheckStatus.PROBLEM,
            "no credentials were found, neither in the settings nor by boto3 (profile, role).",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in .env, or use a role or a profile (`aws configure`).",
        )
    origin = where_set.get("AWS_ACCESS_KEY_ID")
    is_from_settings = "AWS_ACCESS_KEY_ID" in source and origin is not None
    return CheckResult(
        "credentials", CheckStatus.OK, f"{source}, set in {_origin_name(origin)}" if is_from_settings else source
    )


def _origin_name(origin: str | None) -> str:
    return "the environment" if origin == "environment" else str(origin)


def _why_unreachable(address: str) -> str | None:
    """Return why the endpoint is unreachable; ``None`` if it is reachable, or if a proxy makes the test meaningless."""
    url = urlsplit(address)
    if url.hostname is None or url.scheme in getproxies():
        return None
    port = url.port or {"https": 443, "http": 80}[url.scheme]
    try:
        with socket.create_connection((url.hostname, port), timeout=_CONNECT_TIMEOUT_S):
            return None
    except socket.gaierror:
        return f"the name {url.hostname} is not known"
    except TimeoutError:
        return f"no answer within {_CONNECT_TIMEOUT_S:.0f} s"
    except OSError as error:
        return f"{error.strerror or error}"


def _check_listing(connection: S3Connection, settings: Settings) -> Iterator[CheckResult]:
    """Send one listing: its reply carries the store's clock and the bucket's region."""
    failure: ApexError | None = None
    try:
        with s3_errors(connection.error_context, "Listing"):
            reply: Any = connection.client.list_objects_v2(
                Bucket=connection.bucket, Prefix=settings.lake_prefix, MaxKeys=1
            )
    except ApexError as error:
        failure, reply = error, getattr(error.__cause__, "response", {})
    headers: Mapping[str, str] = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if "date" in headers:
        yield _clock(datetime.now(UTC) - parsedate_to_datetime(headers["date"]))
    yield _region(settings, headers.get("x-amz-bucket-region"))
    yield _bucket(connection, settings, failure)


def _clock(ahead: timedelta) -> CheckResult:
    seconds = abs(ahead.total_seconds())
    message = f"this machine is {seconds:,.0f} s {'ahead of' if ahead > timedelta() else 'behind'} the store"
    if abs(ahead) > _CLOCK_PROBLEM:
        return CheckResult(
            "clock",
            CheckStatus.PROBLEM,
            f"{message}; S3 refuses requests that are off by 900 s.",
            "Set this machine's clock, or turn on NTP.",
        )
    if abs(ahead) > _CLOCK_NOTE:
        return CheckResult("clock", CheckStatus.NOTE, message, "Set this machine's clock, or turn on NTP.")
    return CheckResult("clock", CheckStatus.OK, message)


def _region(settings: Settings, actual: str | None) -> CheckResult:
    configured = settings.aws_region
    if actual is None:
        return CheckResult(
            "region", CheckStatus.OK, f"{configured}; the store does not report the region of the bucket"
        )
    if actual != configured:
        message = f"the bucket {settings.bucket} is in {actual}, but AWS_REGION is {configured}."
        return CheckResult("region", CheckStatus.PROBLEM, message, f"Set AWS_REGION={actual}.")
    return CheckResult("region", CheckStatus.OK, configured)


def _bucket(connection: S3Connection, settings: Settings, failure: ApexError | None) -> CheckResult:
    if failure is None:
        return CheckResult("bucket", CheckStatus.OK, f"s3://{connection.bucket} exists")
    if error_code(failure) == "NoSuchBucket" and settings.allow_create_bucket:
        return CheckResult(
            "bucket", CheckStatus.NOTE, f"the bucket {connection.bucket} does not exist yet", "`apex sync` creates it."
        )
    return failed_check("bucket", failure)
