"""Remove the project's environment variables for a test."""

import os

import pytest

_PREFIXES = ("APEX_", "AWS_", "S3_", "DAGSTER_")
# xdist gives its workers a width of 80, in which messages would be folded.
_OTHERS = {"USE_S3_DATA", "ALLOW_CREATE_BUCKET", "PUBLIC_BASE_URL", "COLUMNS"}


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    """Remove the variables that the caller, or an earlier test in this process, has set."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) or name in _OTHERS:
            patch.delenv(name)
