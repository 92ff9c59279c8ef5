"""Remove the project's environment variables for a test."""

import os

import pytest

_PREFIXES = ("APEX_", "AWS_", "S3_", "DAGSTER_", "EVENT_", "EVENTS_", "AMS2_", "REDIS_")
_OTHERS = {
    *("USE_S3_DATA", "ALLOW_CREATE_BUCKET", "PUBLIC_BASE_URL", "DATABASE_URL", "MAX_RACE_MB"),
    "COLUMNS",  # xdist gives its workers a width of 80, in which messages would be folded
    *("BUCKET_NAME", "PREFIX", "USE_DATE_FOLDERS", "MAX_RETRIES", "RETRY_BASE_DELAY"),
}


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    """Remove the variables that the caller, or an earlier test in this process, has set."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) or name in _OTHERS:
            patch.delenv(name)
