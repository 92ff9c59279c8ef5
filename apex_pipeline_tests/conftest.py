"""Fixtures that every test may ask for: the real files, servers, and settings that read nothing from outside."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from apex_pipeline_tests.servers.fault_proxy import fault_proxy
from apex_pipeline_tests.servers.juicefs import old_bucket, old_server
from apex_pipeline_tests.servers.seaweed import s3_bucket, s3_server

# Fixtures for all: a test gets them by naming them.
__all__ = ["fault_proxy", "old_bucket", "old_server", "s3_bucket", "s3_server"]

_PROJECT = Path(__file__).resolve().parent.parent
_NEXT_TO_PROJECT = _PROJECT.parent / "shared" / "data"


def real_data_folder() -> Path | None:
    """Return the folder of real race files (``APEX_REAL_DATA``, else ``../shared/data``), or ``None``."""
    folder = Path(os.environ.get("APEX_REAL_DATA", _NEXT_TO_PROJECT))
    return folder if (folder / "grcup").is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = real_data_folder()
    if folder is None:
        message = "real race files not found: set APEX_REAL_DATA to the folder that holds grcup/ and grcup_rebuilt/"
        if os.environ.get("CI"):
            pytest.fail(message + " (CI must not skip)")
        pytest.skip(message)
    return folder


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start every test without the caller's settings, in an empty folder of its own."""
    forget_settings(monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses boto3 would make between two tries, none of which is waited for."""
    pauses: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=pauses.append))
    return pauses


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    """Take away what the caller, or an earlier test in this process, has set."""
    for name in list(os.environ):
        if name.startswith(("APEX_", "AWS_", "S3_", "DAGSTER_")) or name in {
            "USE_S3_DATA",
            "ALLOW_CREATE_BUCKET",
            "PUBLIC_BASE_URL",
        }:
            patch.delenv(name)
