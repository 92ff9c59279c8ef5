"""The lake that is read: the one in ``APEX_READ_LAKE``, which `make readers` sets, else the shared one of this run.

Nothing here may import a library of an extra: with ``--confcutdir`` the tests run in an environment of a reader.
"""

import os
from pathlib import Path

import pytest

_PREFIXES = ("APEX_", "AWS_", "S3_", "USE_S3_DATA")
_LAKE = os.environ.get("APEX_READ_LAKE")


@pytest.fixture(scope="module")
def lake(request: pytest.FixtureRequest) -> Path:
    """Return the folder of a lake of the synthetic weekend; read-only."""
    return Path(_LAKE) if _LAKE else request.getfixturevalue("demo_folder")[0] / "lake"


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
